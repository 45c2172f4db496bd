// A log view: a window on a file of an agent, live at its end. Whatever the
// size of the file, only the part around what is seen is loaded.

import { h, icon, set } from './dom.js';
import { bytes, exactBytes } from './format.js';
import { store, stored } from './widgets.js';
import { FileWindow, text } from './logwindow.js';

const CHUNK = 65536;
const NEAR = 400; // pixels from an edge at which more is loaded
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;

export class Log {
  constructor(agentID, path) {
    this.agentID = agentID;
    this.path = path;
    this.window = new FileWindow();
    this.size = 0;
    this.following = true;
    this.held = false; // paused by the button: only the button goes on
    this.wanted = null; // offset of a read under way
    this.match = null; // {offset, length} of the match shown
    this.wait = FIRST_WAIT;
    this.build();
    this.open();
  }

  build() {
    const tool = (name, label, act) => h('button', { type: 'button', class: 'ghost', title: label, 'aria-label': label, onclick: act }, icon(name));
    this.lines = h('div', { class: 'loglines' });
    this.note = h('p', { class: 'lognote muted', hidden: true });
    this.box = h('div', {
      class: 'logbox', tabindex: '0', role: 'region', 'aria-label': `Content of ${this.path.slice(this.path.lastIndexOf('/') + 1)}`,
      onscroll: () => this.scrolled(), onkeydown: (e) => this.key(e),
    }, this.note, this.lines);
    this.pause = h('button', { type: 'button', class: 'follow', onclick: () => (this.following ? this.hold() : this.toEnd()) });
    this.wrap = tool('wrap', 'Wrap long lines', () => this.setWrap(!this.wrapped));
    this.field = h('input', { type: 'search', placeholder: 'Find in file', 'aria-label': 'Find in file', maxlength: 200, spellcheck: 'false', autocomplete: 'off', onkeydown: (e) => this.searchKey(e) });
    this.found = h('span', { class: 'muted small', role: 'status' });
    this.where = h('span', { class: 'muted small where' });
    this.el = h('div', { class: 'log' },
      h('div', { class: 'toolbar' },
        this.pause, tool('start', 'Jump to the start', () => this.toStart()), tool('end', 'Jump to the end', () => this.toEnd()),
        h('span', { class: 'searchbox' }, icon('search'), this.field), tool('up', 'Previous match', () => this.find(true)), tool('below', 'Next match', () => this.find(false)), this.found,
        h('span', { class: 'push' }, this.where, this.wrap,
          h('a', { class: 'ghost', href: `/ui/download?${new URLSearchParams({ agent: this.agentID, path: this.path })}`, download: true, title: 'Download', 'aria-label': 'Download' }, icon('down')))),
      this.box);
    this.setWrap(stored('wrap') !== 'off');
    this.drawState();
  }

  open() {
    const address = new URL('/ui/tail', location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    address.search = new URLSearchParams({ agent: this.agentID, path: this.path });
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    this.wanted = null;
    socket.onopen = () => {
      this.offline = false;
      this.drawState();
      if (this.following) this.call({ do: 'follow', offset: this.window.lines.length ? this.window.end : -1 });
    };
    socket.onmessage = (e) => {
      this.wait = FIRST_WAIT;
      if (typeof e.data === 'string') this.told(JSON.parse(e.data));
      else this.chunk(e.data);
    };
    socket.onclose = () => {
      if (this.closed) return;
      this.offline = true;
      this.drawState();
      this.timer = setTimeout(() => this.open(), this.wait * (0.5 + Math.random()));
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    };
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }

  call(c) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(c));
  }

  // read asks for a piece of the file; one at a time.
  read(offset, length) {
    if (this.wanted !== null || this.socket.readyState !== WebSocket.OPEN) return;
    this.wanted = offset;
    this.call({ do: 'read', offset, length });
  }

  chunk(buffer) {
    const header = new DataView(buffer);
    const kind = String.fromCharCode(header.getUint8(0));
    const offset = Number(header.getBigUint64(1));
    this.size = Number(header.getBigUint64(9));
    const data = new Uint8Array(buffer, 17);
    this.say('');
    if (kind === 'f') this.followed(offset, data);
    else if (offset === this.wanted) this.readDone(offset, data);
    if (this.size === 0) this.say('This file is empty so far.');
    this.drawState();
  }

  // followed takes what is new at the end.
  followed(offset, data) {
    if (!this.following) return;
    const w = this.window;
    if (offset !== w.end || w.lines.length === 0) {
      if (offset > w.end && w.lines.length > 0) this.say(`${bytes(offset - w.end)} were left out to keep up; scroll up to read them.`);
      if (offset < w.end) this.say('The file was cut; this is its new content.');
      this.reset(offset);
    }
    this.add(data);
    this.box.scrollTop = this.box.scrollHeight;
  }

  readDone(offset, data) {
    this.wanted = null;
    const w = this.window;
    if (this.target !== undefined) {
      const at = this.target;
      this.target = undefined;
      this.reset(offset);
      this.add(data);
      this.reveal(at);
    } else if (offset + data.length === w.start && data.length > 0) {
      this.addBefore(data);
    } else if (offset === w.end) {
      this.add(data);
    }
  }

  reset(at) {
    this.window.clear(at);
    set(this.lines);
  }

  line(l) {
    const el = h('div', { class: 'logline' });
    this.fillLine(el, l);
    return el;
  }

  // fillLine writes the text, with the places that match the search marked.
  fillLine(el, l) {
    const shown = text(l.bytes);
    const word = this.marked;
    const i = word ? shown.toLowerCase().indexOf(word) : -1;
    if (i < 0) {
      el.textContent = shown || ' ';
      return;
    }
    const pieces = [];
    let from = 0;
    for (let at = i; at >= 0; at = shown.toLowerCase().indexOf(word, from)) {
      pieces.push(shown.slice(from, at), h('mark', null, shown.slice(at, at + word.length)));
      from = at + word.length;
    }
    set(el, pieces, shown.slice(from));
  }

  add(data) {
    if (data.length === 0) return;
    const { added, joined, dropped } = this.window.append(data);
    if (joined) this.lines.lastChild.remove();
    this.lines.append(...added.map((l) => this.line(l)));
    const was = this.box.scrollHeight;
    for (let i = 0; i < dropped; i++) this.lines.firstChild.remove();
    if (dropped > 0) this.box.scrollTop -= was - this.box.scrollHeight;
  }

  addBefore(data) {
    const was = this.box.scrollHeight;
    const top = this.box.scrollTop;
    const { added, joined, dropped } = this.window.prepend(data);
    if (joined) this.lines.firstChild.remove();
    this.lines.prepend(...added.map((l) => this.line(l)));
    this.box.scrollTop = top + this.box.scrollHeight - was;
    for (let i = 0; i < dropped; i++) this.lines.lastChild.remove();
  }

  told(m) {
    if (m.size) this.size = m.size;
    if (m.type === 'found') this.showMatch(m);
    if (m.type === 'searching') this.found.textContent = `searching at ${bytes(m.offset)}…`;
    if (m.type === 'notfound') this.notFound();
    if (m.type === 'error') {
      this.wanted = null;
      this.found.textContent = '';
      this.say(m.missing ? 'This file is not there. It comes with the first output; sandboxes of ended tasks are removed after a while.' : m.text);
    }
    this.drawState();
  }

  say(words) {
    this.note.hidden = words === '';
    this.note.textContent = words;
    this.box.classList.toggle('nothing', words !== '' && this.window.lines.length === 0);
  }

  drawState() {
    const word = this.offline ? 'Reconnecting' : this.following ? 'Following' : 'Follow';
    set(this.pause, icon(this.following ? 'pause' : 'play'), word);
    this.pause.title = this.following ? 'Pause: stay here while the file grows' : 'Follow the end of the file';
    this.pause.setAttribute('aria-pressed', String(this.following));
    this.pause.classList.toggle('chosen', this.following);
    const more = this.size - this.window.end;
    this.where.textContent = !this.following && more > 0 ? `${bytes(this.size)}, ${bytes(more)} below` : bytes(this.size);
    this.where.title = exactBytes(this.size);
  }

  setWrap(on) {
    this.wrapped = on;
    this.box.classList.toggle('nowrap', !on);
    this.wrap.setAttribute('aria-pressed', String(on));
    this.wrap.classList.toggle('chosen', on);
    store('wrap', on ? 'on' : 'off');
  }

  hold() {
    this.stopFollowing();
    this.held = true;
  }

  stopFollowing() {
    this.following = false;
    this.call({ do: 'pause' });
    this.drawState();
  }

  toStart() {
    this.held = true;
    this.stopFollowing();
    this.jump(0, 0);
  }

  toEnd() {
    this.held = false;
    this.following = true;
    const whole = this.window.end >= this.size && this.window.lines.length > 0;
    if (whole) this.box.scrollTop = this.box.scrollHeight;
    else this.reset(0);
    this.wanted = null;
    this.target = undefined;
    this.call({ do: 'follow', offset: whole ? this.window.end : -1 });
    this.drawState();
  }

  // jump loads the part around an offset and shows it.
  jump(from, at) {
    this.wanted = null;
    this.target = at;
    this.read(from, CHUNK);
  }

  reveal(at) {
    const i = this.window.at(at);
    const el = this.lines.children[i];
    if (!el) {
      this.box.scrollTop = 0;
      return;
    }
    this.lines.querySelector('.here')?.classList.remove('here');
    if (this.match && this.match.offset === at) el.classList.add('here');
    this.box.scrollTop = at === 0 ? 0 : el.offsetTop - this.box.clientHeight / 3;
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const bottom = scrollHeight - clientHeight - scrollTop < 4;
    const w = this.window;
    if (this.following && !bottom && scrollTop < this.lastTop) this.stopFollowing();
    this.lastTop = scrollTop;
    if (!this.following && bottom && !this.held && w.end >= this.size && w.lines.length > 0) this.toEnd();
    if (scrollTop < NEAR && w.start > 0 && w.lines.length > 0) {
      const from = Math.max(0, w.start - CHUNK);
      this.read(from, w.start - from);
    } else if (!this.following && scrollHeight - clientHeight - scrollTop < NEAR && w.end < this.size) {
      this.read(w.end, CHUNK);
    }
  }

  key(e) {
    if (e.target !== this.box || e.ctrlKey || e.metaKey || e.altKey) return;
    const act = { Home: () => this.toStart(), End: () => this.toEnd(), ' ': () => (this.following ? this.hold() : this.toEnd()) }[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  }

  searchKey(e) {
    if (e.key === 'Enter') {
      e.preventDefault();
      this.find(e.shiftKey);
    }
  }

  // find looks for the next or previous match from the one shown, or from the
  // first line that is seen.
  find(back) {
    const word = this.field.value;
    if (word === '') return;
    if (word !== this.asked) {
      this.asked = word;
      this.match = null;
      this.marked = word.toLowerCase();
      this.window.lines.forEach((l, i) => this.fillLine(this.lines.children[i], l));
    }
    this.stopFollowing();
    this.held = true;
    let offset = back ? this.size : this.topOffset();
    if (this.match) offset = back ? this.match.offset : this.match.offset + this.match.length;
    this.turned = false;
    this.search(offset, back);
  }

  search(offset, back) {
    this.asking = { offset, back };
    this.found.textContent = 'searching…';
    this.call({ do: 'find', text: this.asked, offset, back });
  }

  topOffset() {
    const i = [...this.lines.children].findIndex((el) => el.offsetTop + el.offsetHeight > this.box.scrollTop);
    return i >= 0 ? this.window.lines[i].offset : 0;
  }

  showMatch(m) {
    this.match = { offset: m.offset, length: m.length };
    this.found.textContent = this.turned ? 'went on from the other end' : `at ${bytes(m.offset)}`;
    if (this.window.at(m.offset) >= 0) this.reveal(m.offset);
    else this.jump(Math.max(0, m.offset - CHUNK / 4), m.offset);
  }

  // notFound goes on once from the other end of the file.
  notFound() {
    const { offset, back } = this.asking;
    if (this.turned || (back ? offset >= this.size : offset === 0)) {
      this.found.textContent = 'not found';
      return;
    }
    this.turned = true;
    this.search(back ? this.size : 0, back);
  }
}
