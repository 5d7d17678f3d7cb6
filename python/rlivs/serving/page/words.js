// Times and quantities as people write them.

export function time(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export const span = (clip) => `${time(clip.start)}–${time(clip.end)}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.9995) return `${Math.round(1000 * Math.max(0, seconds))} ms`;
  return seconds < 90 ? `${seconds.toFixed(1)} s` : time(seconds);
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
