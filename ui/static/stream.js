// The stream of data: one websocket, topics with a snapshot and numbered
// deltas, and what to do when it breaks.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const STALE_AFTER = 12000; // two beats missed
const DEAD_AFTER = 30000;

// Stream keeps the topics that pages watch up to date.
export class Stream {
  // onstatus(status) is called when {state, last, text} changes: state is
  // connecting, connected, reconnecting or stale; last is when the last message
  // came; text is why the node has no data, or empty.
  constructor(address, onstatus) {
    this.address = address;
    this.onstatus = onstatus;
    this.topics = new Map();
    this.state = 'connecting';
    this.last = 0;
    this.trouble = '';
    this.skew = 0; // clock of the node minus ours
    this.wait = FIRST_WAIT;
    this.timer = 0;
    setInterval(() => this.watch(), 1000);
    addEventListener('online', () => this.hurry());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.hurry(); });
    this.open();
  }

  // now is the time on the node.
  now() {
    return Date.now() + this.skew;
  }

  // subscribe calls f with {fields, rows, error} at each change of the topic,
  // soon for the first time. It returns a function that ends it.
  subscribe(name, f) {
    let t = this.topics.get(name);
    if (!t) {
      t = { name, seq: 0, ready: false, fields: {}, rows: new Map(), order: [], error: '', watchers: new Set() };
      this.topics.set(name, t);
      this.call('subscribe', name);
    }
    t.watchers.add(f);
    if (t.ready || t.error) f(data(t));
    return () => {
      t.watchers.delete(f);
      if (t.watchers.size === 0 && this.topics.get(name) === t) {
        this.topics.delete(name);
        this.call('unsubscribe', name);
      }
    };
  }

  call(what, name) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ do: what, topic: name }));
    }
  }

  open() {
    clearTimeout(this.timer);
    this.timer = 0;
    const socket = new WebSocket(this.address);
    this.socket = socket;
    this.opened = Date.now();
    socket.onopen = () => {
      for (const name of this.topics.keys()) this.call('subscribe', name);
    };
    socket.onmessage = (e) => { if (this.socket === socket) this.take(JSON.parse(e.data)); };
    socket.onclose = () => { if (this.socket === socket) this.lost(); };
  }

  // lost plans the next attempt: later each time, and not all pages at once.
  lost() {
    this.socket = null;
    this.status('reconnecting');
    this.timer = setTimeout(() => this.open(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  // hurry tries at once: the network or the user is back.
  hurry() {
    if (this.timer) this.open();
  }

  // watch notices a connection that is open and says nothing.
  watch() {
    if (!this.socket) return;
    const silent = Date.now() - Math.max(this.last, this.opened);
    if (silent > DEAD_AFTER) {
      this.socket.onclose = null;
      this.socket.close();
      this.lost();
    } else if (silent > STALE_AFTER && this.state === 'connected') {
      this.status('stale');
    }
  }

  status(state) {
    this.state = state;
    this.onstatus({ state, last: this.last, text: this.trouble });
  }

  take(m) {
    this.last = Date.now();
    this.skew = m.at - this.last;
    this.wait = FIRST_WAIT;
    if (m.type === 'hello') this.greet(m);
    if (m.type === 'trouble') this.trouble = m.text || '';
    const t = this.topics.get(m.topic);
    if (t) this.apply(t, m);
    this.status('connected');
  }

  // greet loads the page anew when the node has been upgraded.
  greet(m) {
    if (this.build && this.build !== m.build) location.reload();
    this.build = m.build;
    this.trouble = '';
  }

  apply(t, m) {
    if (m.type === 'error') {
      t.error = m.text;
    } else if (m.type === 'snapshot') {
      this.replace(t, m);
    } else if (!t.ready) {
      return; // of before the snapshot that we asked for
    } else if (m.seq !== t.seq + 1) {
      t.ready = false;
      this.call('subscribe', t.name);
      return;
    } else {
      change(t, m);
    }
    for (const f of [...t.watchers]) f(data(t));
  }

  replace(t, m) {
    t.ready = true;
    t.error = '';
    t.seq = m.seq;
    t.fields = m.fields || {};
    t.rows = new Map((m.rows || []).map((r) => [r.key, r]));
    t.order = [...t.rows.keys()];
  }
}

// change applies a delta.
export function change(t, m) {
  t.seq = m.seq;
  t.fields = { ...t.fields, ...m.fields };
  for (const name of m.gone || []) delete t.fields[name];
  for (const key of m.removed || []) t.rows.delete(key);
  if (m.removed) t.order = t.order.filter((key) => t.rows.has(key));
  for (const row of m.rows || []) {
    if (!t.rows.has(row.key)) t.order.push(row.key);
    t.rows.set(row.key, row);
  }
  if (m.order) t.order = m.order;
}

function data(t) {
  return { fields: t.fields, rows: t.order.map((key) => t.rows.get(key)), error: t.error };
}
