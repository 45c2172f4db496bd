// Numbers, sizes, times and ids as people read them. Nothing here touches the page.

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

// number shows up to two decimals: 0.1, 4, 1,234.
export function number(n) {
  return plain.format(n || 0);
}

// count shows a whole number, short from ten thousand on: 9,999, 12.3k, 1.2M.
export function count(n) {
  if (n >= 1e6) return `${plain.format(Math.floor(n / 1e4) / 100)}M`;
  if (n >= 1e4) return `${plain.format(Math.floor(n / 100) / 10)}k`;
  return whole.format(n || 0);
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];

// bytes shows a size with about three digits: 512 B, 1.5 KB, 64 MB.
export function bytes(n) {
  let unit = 0;
  let v = n || 0;
  while (v >= 1024 && unit < UNITS.length - 1) {
    v /= 1024;
    unit++;
  }
  const digits = v >= 100 || unit === 0 ? 0 : v >= 10 ? 1 : 2;
  return `${Number(v.toFixed(digits))} ${UNITS[unit]}`;
}

// megabytes is bytes for the unit of Mesos resources.
export function megabytes(mb) {
  return mb ? bytes(mb * 1048576) : '0 MB';
}

// exactBytes is for the title of a size.
export function exactBytes(n) {
  return `${whole.format(n || 0)} bytes`;
}

// shorten cuts the middle out of a long id.
export function shorten(id, max = 20) {
  if (id.length <= max) return id;
  const tail = Math.min(8, Math.floor((max - 1) / 2));
  return `${id.slice(0, max - 1 - tail)}…${id.slice(-tail)}`;
}

// span shows a length of time in milliseconds with its two greatest units.
export function span(ms) {
  const sec = Math.max(0, Math.floor(ms / 1000));
  if (sec < 60) return `${sec}s`;
  const min = Math.floor(sec / 60);
  if (min < 60) return sec % 60 && min < 10 ? `${min}m ${sec % 60}s` : `${min}m`;
  const hours = Math.floor(min / 60);
  if (hours < 24) return min % 60 ? `${hours}h ${min % 60}m` : `${hours}h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 10 ? `${days}d ${hours % 24}h` : `${days}d`;
}

const two = (n) => String(n).padStart(2, '0');

// clock is the local time of day.
export function clock(ms) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

// exact is the local date and time.
export function exact(ms) {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`;
}

// percent shows a part of one.
export function percent(part) {
  if (part > 0 && part < 0.01) return '<1%';
  return `${Math.round(part * 100)}%`;
}

// plural is "1 task", "2 tasks".
export function plural(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
}

// STATES tells for each task state: the word, its group (which has the colour),
// and the sign that tells it apart without colour.
const STATES = {
  TASK_STAGING: ['Staging', 'pending', '◌'],
  TASK_STARTING: ['Starting', 'pending', '◔'],
  TASK_RUNNING: ['Running', 'running', '●'],
  TASK_KILLING: ['Killing', 'killing', '◍'],
  TASK_UNREACHABLE: ['Unreachable', 'unreachable', '⚠'],
  TASK_UNKNOWN: ['Unknown', 'unreachable', '?'],
  TASK_FINISHED: ['Finished', 'finished', '✓'],
  TASK_FAILED: ['Failed', 'failed', '✕'],
  TASK_KILLED: ['Killed', 'killed', '■'],
  TASK_ERROR: ['Error', 'failed', '✕'],
  TASK_LOST: ['Lost', 'failed', '?'],
  TASK_DROPPED: ['Dropped', 'failed', '✕'],
  TASK_GONE: ['Gone', 'failed', '✕'],
  TASK_GONE_BY_OPERATOR: ['Gone', 'failed', '✕'],
};

// taskState describes a state, also one that is not known here.
export function taskState(name) {
  const [word, group, sign] = STATES[name] || [String(name).replace(/^TASK_/, ''), 'unreachable', '?'];
  return { word, group, sign };
}

export function taskStates() {
  return Object.keys(STATES);
}

// link builds the address of a page from its parts.
export function link(parts, query) {
  const path = parts.map((p) => encodeURIComponent(p)).join('/');
  const text = queryText(query || {});
  return `#/${path}${text ? `?${text}` : ''}`;
}

// queryText writes the set values in the order of their names, so that equal
// queries are equal texts.
export function queryText(query) {
  const out = new URLSearchParams();
  for (const key of Object.keys(query).sort()) {
    const v = query[key];
    if (v !== '' && v !== null && v !== undefined) out.set(key, v);
  }
  return out.toString();
}

// topic names what a page subscribes to.
export function topic(parts, query) {
  const text = queryText(query || {});
  return parts.map((p) => encodeURIComponent(p)).join('/') + (text ? `?${text}` : '');
}
