// Times and quantities as people write them.

// [from, zero]: from this second of the stream on, second 0 was at `zero` by the server's wall clock, in milliseconds as if
// it were in UTC; another one where summer time begins or ends. None where moments are counted.
let zeros = [];

// A caption or gap, in order of time, with the stream's times by that clock; null: of another stream, which may have none.
export function setClock(item) {
  if (item === null) zeros = [];
  if (!item?.clock) return;
  const zero = Date.parse(`${item.clock[0].slice(0, 19)}Z`) - 1000 * item.start;
  if (!zeros.length || Math.abs(zeros.at(-1)[1] - zero) > 60000) zeros.push([item.start, zero]);
}

export function time(seconds) {
  if (!zeros.length) return counted(seconds);
  const [, zero] = zeros.findLast(([from]) => from <= seconds) ?? zeros[0];
  return new Date(zero + 1000 * seconds).toISOString().slice(11, 19);
}

// Seconds of the stream at which a day of the clock began: from there whole hours are round ones.
export const midnight = () => (zeros.length ? -(zeros[0][1] / 1000) % 86400 : 0);

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
