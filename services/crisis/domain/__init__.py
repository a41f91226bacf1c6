"""An incident from its first flag to its end, and who must be paged when. Pure: time is an argument.

An incident is the fold of its timeline. Every line of a timeline has an id that says what it stands for, so that
two versions of one incident (two replicas, memory and database) are merged by the union of their lines, and doing
something twice writes it down once.

Three clocks run, none of which a storage can hold up:

- the chain (F59): person on call, second, head, everyone, and again, until a person acknowledges;
- the head of the psychological department is told within 10 minutes in any case, acknowledged or not (F59);
- acknowledged, but no intervention within 30 minutes of the flag: the chain starts again (A30).

`incident` says what one is, `fold` makes it of its timeline, `keeping` says what of that it may lose. `opening` and
`acting` are what flags and people do to it. `chain` says where its chain stands, `clocks` what is due by any of the
three, `paging` writes down what became of a page, and `telling` says what others hear of it.
"""

from services.crisis.domain.acting import (
    ACKNOWLEDGE_KEY,
    Received,
    acknowledge,
    assess,
    intervene,
    receive,
    refer,
    reopen,
    resolve,
    respond,
    take_part,
)
from services.crisis.domain.chain import HEAD_MARGIN, Page, steps
from services.crisis.domain.clocks import (
    GRACE,
    HEAD_RETRIES_ONCE_RESOLVED,
    LONGEST_STAGE,
    SHORTEST_STAGE,
    due,
    elapse,
    next_at,
    settled,
)
from services.crisis.domain.fold import extend, merge, retold
from services.crisis.domain.incident import (
    ERASED,
    RANK,
    UNKNOWN,
    Agency,
    AssessmentStep,
    Contact,
    Deadline,
    Flag,
    Incident,
    Kind,
    Level,
    Moment,
    NotPossible,
    State,
)
from services.crisis.domain.keeping import MANY_FLAGS, NEWEST_FLAGS, NOBODY, pruned, scrubbed
from services.crisis.domain.opening import (
    deadline_id,
    join,
    joins,
    open_deadline,
    open_incident,
    read_flag,
    unreadable_flag,
)
from services.crisis.domain.paging import Doubt, escalate, failed, repeated, sent
from services.crisis.domain.telling import Change, announced, unanswered

__all__ = [
    "ACKNOWLEDGE_KEY",
    "ERASED",
    "GRACE",
    "HEAD_MARGIN",
    "HEAD_RETRIES_ONCE_RESOLVED",
    "LONGEST_STAGE",
    "MANY_FLAGS",
    "NEWEST_FLAGS",
    "NOBODY",
    "RANK",
    "SHORTEST_STAGE",
    "UNKNOWN",
    "Agency",
    "AssessmentStep",
    "Change",
    "Contact",
    "Deadline",
    "Doubt",
    "Flag",
    "Incident",
    "Kind",
    "Level",
    "Moment",
    "NotPossible",
    "Page",
    "Received",
    "State",
    "acknowledge",
    "announced",
    "assess",
    "deadline_id",
    "due",
    "elapse",
    "escalate",
    "extend",
    "failed",
    "intervene",
    "join",
    "joins",
    "merge",
    "next_at",
    "open_deadline",
    "open_incident",
    "pruned",
    "read_flag",
    "receive",
    "refer",
    "reopen",
    "repeated",
    "resolve",
    "respond",
    "retold",
    "scrubbed",
    "sent",
    "settled",
    "steps",
    "take_part",
    "unanswered",
    "unreadable_flag",
]
