/* Times and similarities as text. Times are shown in the offset of the recording. */

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (number) => String(number).padStart(2, "0");

/** The UTC offset at the end of an ISO time, in minutes. */
export function offsetOf(iso) {
  const found = /([+-])(\d\d):(\d\d)$/.exec(iso);
  return found ? (found[1] === "-" ? -1 : 1) * (60 * Number(found[2]) + Number(found[3])) : 0;
}

/** The offset as people write it. */
export function zoneOf(iso) {
  const minutes = offsetOf(iso);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${two(hours)}:${two(rest)}`;
}

/** Clock time of an instant in milliseconds, at an offset in minutes. */
export function clockAt(milliseconds, offset) {
  const shifted = new Date(milliseconds + offset * 60000);
  const time = [shifted.getUTCHours(), shifted.getUTCMinutes(), shifted.getUTCSeconds()];
  return time.map(two).join(":");
}

export function dayAt(milliseconds, offset) {
  const shifted = new Date(milliseconds + offset * 60000);
  return `${shifted.getUTCDate()} ${MONTHS[shifted.getUTCMonth()]} ${shifted.getUTCFullYear()}`;
}

const clock = (iso) => clockAt(Date.parse(iso), offsetOf(iso));
const day = (iso) => dayAt(Date.parse(iso), offsetOf(iso));

/** Seconds from a video's start as minutes and seconds. */
export function stopwatch(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tenth = Math.floor((seconds - whole) * 10 + 1e-6);
  const end = `${two(rest)}.${tenth}`;
  return hours ? `${hours}:${two(minutes)}:${end}` : `${minutes}:${end}`;
}

/** The time span of a tracklet. */
export function span(seen) {
  if (!seen.start_time) return `${stopwatch(seen.start)} to ${stopwatch(seen.end)} in the video`;
  const [start, end] = [clock(seen.start_time), clock(seen.end_time)];
  return start === end ? start : `${start} to ${end}`;
}

/** The day of a recording, if it is known. */
export const date = (seen) => (seen.start_time ? day(seen.start_time) : null);

/** A moment of a video: by the clock if it has one. */
export function moment(video, seconds) {
  if (!video.start_time) return `${stopwatch(seconds)} in the video`;
  const offset = offsetOf(video.start_time);
  const instant = Date.parse(video.start_time) + seconds * 1000;
  return `${dayAt(instant, offset)}, ${clockAt(instant, offset)}`;
}

export const likeness = (found) => found.similarity.toFixed(3);

/** A probability in per cent, without claiming certainty. */
export function chance(probability) {
  const percent = probability * 100;
  if (percent > 99.5) return "over 99\u00a0%";
  if (percent < 0.5) return "under 1\u00a0%";
  return `${Math.round(percent)}\u00a0%`;
}

/** A tracklet in words, for screen readers. */
export function inWords(seen) {
  const when = date(seen) ? `${date(seen)}, ${span(seen)}` : span(seen);
  const like = seen.similarity === undefined ? "" : `, similarity ${likeness(seen)}`;
  return `camera ${seen.camera}, ${when}${like}`;
}
