// Times and quantities as people write them.

// What the server's wall clock showed at second 0, in milliseconds as if it were in UTC; null: moments are counted.
let zero = null;

// A caption or gap with the stream's times by that clock; null: of another stream, which may have none.
export function setClock(item) {
  if (item === null) zero = null;
  else if (item.clock) zero = Date.parse(`${item.clock[0].slice(0, 19)}Z`) - 1000 * item.start;
}

export function time(seconds) {
  return zero === null ? counted(seconds) : new Date(zero + 1000 * seconds).toISOString().slice(11, 19);
}

// Seconds of the stream at which a day of the clock began: from there whole hours are round ones.
export const midnight = () => (zero === null ? 0 : -(zero / 1000) % 86400);

function counted(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function span(clip) {
  if (!clip.clock) return `${counted(clip.start)}–${counted(clip.end)}`;
  const [first, last] = clip.clock.map((moment) => [moment.slice(0, 10), moment.slice(11, 19)]);
  const now = new Date();
  const today = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  return `${first[0] === today ? "" : `${first[0]} `}${first[1]}–${last[0] === first[0] ? "" : `${last[0]} `}${last[1]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.9995) return `${Math.round(1000 * Math.max(0, seconds))} ms`;
  return seconds < 90 ? `${seconds.toFixed(1)} s` : counted(seconds);
}

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

// The share of a caption's words that the captions before it had not.
export function freshness(text, known) {
  const words = new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) || []);
  const fresh = [...words].filter((word) => !known.has(word)).length;
  words.forEach((word) => known.add(word));
  return words.size ? fresh / words.size : 0;
}
