// A sound and a buzz for a new incident, once a tap has allowed it: browsers play nothing before.

let context = null;

export const allowed = () => context !== null;

export function toggle() {
  if (context) {
    context.close();
    context = null;
    return;
  }
  context = new AudioContext();
  context.resume().then(() => tone(660, 0, 0.12)); // so one hears what it will sound like
}

export function ring() {
  if (!context) return;
  context.resume().then(() => [0, 0.35, 0.7].forEach((at, step) => tone(660 + 110 * step, at, 0.25)));
  navigator.vibrate?.([300, 150, 300]);
}

function tone(frequency, after, length) {
  const at = context.currentTime + after;
  const [oscillator, gain] = [context.createOscillator(), context.createGain()];
  oscillator.frequency.value = frequency;
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(0.3, at + 0.03);
  gain.gain.exponentialRampToValueAtTime(0.001, at + length);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(at);
  oscillator.stop(at + length);
}
