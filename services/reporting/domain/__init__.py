"""Pure decisions of reporting: facts kept in read models, and the figures of a month that follow from them."""
