// The part of a file that a log view holds: whole lines where it can, at most
// some megabytes, growing at either end. No element is made here.

const LONGEST_LINE = 8192; // bytes; longer ones are shown in pieces
const MOST_BYTES = 2 << 20;
const MOST_LINES = 5000;
const ESCAPES = /\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g;

const decoder = new TextDecoder();

// text is what a line shows: without control sequences, and of what was written
// over itself (progress bars) the last.
export function text(bytes) {
  let t = decoder.decode(bytes).replace(/\r?\n$/, '').replace(ESCAPES, '');
  const back = t.lastIndexOf('\r');
  if (back >= 0) t = back === t.length - 1 ? t.slice(t.lastIndexOf('\r', back - 1) + 1, back) : t.slice(back + 1);
  return t.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, '\ufffd');
}

// split cuts bytes into lines [{offset, bytes}]; each but the last ends with a
// line feed or is as long as a line may be.
export function split(offset, bytes) {
  const lines = [];
  let from = 0;
  while (from < bytes.length) {
    let to = bytes.indexOf(10, from) + 1 || bytes.length;
    if (to - from > LONGEST_LINE) {
      to = from + LONGEST_LINE;
      while (to > from + 1 && (bytes[to] & 0xc0) === 0x80) to--; // not within a character
    }
    lines.push({ offset: offset + from, bytes: bytes.subarray(from, to) });
    from = to;
  }
  return lines;
}

function whole(line) {
  return line.bytes[line.bytes.length - 1] === 10 || line.bytes.length >= LONGEST_LINE - 3;
}

function join(a, b) {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

// FileWindow holds the lines from start to end, offsets in the file.
export class FileWindow {
  constructor() {
    this.clear(0);
  }

  clear(at) {
    this.lines = [];
    this.start = at;
    this.end = at;
  }

  // append adds bytes at the end. It returns the lines that are new, whether
  // the last old line was replaced by the first of them, and how many lines
  // were dropped at the start.
  append(bytes) {
    const last = this.lines[this.lines.length - 1];
    const joined = last !== undefined && !whole(last);
    if (joined) this.lines.pop();
    const added = split(joined ? last.offset : this.end, joined ? join(last.bytes, bytes) : bytes);
    for (const line of added) this.lines.push(line);
    this.end += bytes.length;
    let dropped = 0;
    while (this.full(dropped) && dropped < this.lines.length - added.length) {
      this.start += this.lines[dropped].bytes.length;
      dropped++;
    }
    this.lines.splice(0, dropped);
    return { added, joined, dropped };
  }

  // prepend adds bytes before the start. The first old line is replaced by the
  // last of the new ones when it was only the rest of a line.
  prepend(bytes) {
    const first = this.lines[0];
    const joined = first !== undefined && bytes[bytes.length - 1] !== 10;
    if (joined) this.lines.shift();
    this.start -= bytes.length;
    const added = split(this.start, joined ? join(bytes, first.bytes) : bytes);
    this.lines = added.concat(this.lines);
    let dropped = 0;
    while (this.full(0) && this.lines.length > added.length) {
      this.end -= this.lines.pop().bytes.length;
      dropped++;
    }
    return { added, joined, dropped };
  }

  // full tells whether there is too much, without the first lines.
  full(without) {
    return this.end - this.start > MOST_BYTES || this.lines.length - without > MOST_LINES;
  }

  // at is the index of the line with the offset, or -1.
  at(offset) {
    return this.lines.findIndex((l) => offset >= l.offset && offset < l.offset + l.bytes.length);
  }
}
