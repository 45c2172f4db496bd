// The tasks of the last hour: what was live as areas, what ended as bars.

import { s, set, h } from './dom.js';
import { clock, count, taskState } from './format.js';

const HOUR = 3600000;
const HEIGHT = 168;
const AREA = 104; // height of the areas; the bars are below
const GAP = 12;
const LEFT = 34;
const RIGHT = 8;
const AXIS = 18;
const BUCKET = 60000;

const LIVE = ['running', 'pending', 'killing', 'unreachable'];
const ENDED = ['finished', 'killed', 'failed'];

// Chart draws samples [{at, counts}] up to now. The last point is the counts of
// this moment.
export class Chart {
  constructor(now) {
    this.now = now;
    this.samples = [];
    this.tip = h('div', { class: 'tip', hidden: true });
    this.svg = s('svg', { class: 'chart', role: 'img', height: HEIGHT });
    this.el = h('div', { class: 'chartbox' }, this.svg, this.tip, legend());
    this.svg.addEventListener('pointermove', (e) => this.point(e));
    this.svg.addEventListener('pointerleave', () => { this.tip.hidden = true; this.cursor?.remove(); });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.el);
    this.timer = setInterval(() => this.draw(), 15000);
  }

  close() {
    this.observer.disconnect();
    clearInterval(this.timer);
  }

  show(samples, current) {
    this.samples = samples.map(grouped);
    this.current = grouped({ at: 0, counts: current || {} });
    this.draw();
  }

  x(at) {
    return LEFT + (this.width - LEFT - RIGHT) * (1 - (this.end - at) / HOUR);
  }

  draw() {
    this.width = this.el.clientWidth;
    if (!this.width || !this.current) return;
    this.end = this.now();
    const from = this.end - HOUR;
    const seen = this.samples.filter((p) => p.at >= from);
    this.points = [...seen, { at: this.end, live: this.current.live, ended: {} }];
    this.buckets = buckets(seen);
    const top = nice(Math.max(1, ...this.points.map((p) => sum(p.live, LIVE))));
    const most = nice(Math.max(1, ...this.buckets.map((b) => sum(b.ended, ENDED))));
    this.svg.setAttribute('width', this.width);
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute('aria-label', this.label());
    set(this.svg, grid(this.width, top, most), this.areas(top), this.bars(most), this.axis(), this.since());
  }

  // since says where the record begins when it is shorter than the chart.
  since() {
    const from = this.points[0].at;
    if (this.end - from > HOUR - 2 * BUCKET) return null;
    return s('text', { class: 'tick', x: LEFT + 8, y: AREA / 2 + 8 }, `Recorded since ${clock(from)}`);
  }

  label() {
    const ended = ENDED.map((g) => `${this.buckets.reduce((n, b) => n + (b.ended[g] || 0), 0)} ${g}`).join(', ');
    return `Tasks of the last hour. Now ${LIVE.map((g) => `${this.current.live[g] || 0} ${g}`).join(', ')}. Ended: ${ended}.`;
  }

  areas(top) {
    const base = this.points.map(() => 0);
    return LIVE.map((group) => {
      const low = [...base];
      let any = false;
      this.points.forEach((p, i) => { base[i] += p.live[group] || 0; any = any || p.live[group] > 0; });
      if (!any) return null;
      const y = (n) => AREA - (n / top) * (AREA - 8);
      const up = this.points.map((p, i) => `${this.x(p.at).toFixed(1)},${y(base[i]).toFixed(1)}`);
      const down = this.points.map((p, i) => `${this.x(p.at).toFixed(1)},${y(low[i]).toFixed(1)}`).reverse();
      return s('g', null, s('polygon', { class: `area f-${group}`, points: [...up, ...down].join(' ') }),
        group === 'running' ? s('polyline', { class: 'line l-running', points: up.join(' ') }) : null);
    });
  }

  bars(most) {
    const bottom = HEIGHT - AXIS;
    const room = bottom - AREA - GAP;
    const width = Math.max(2, (this.width - LEFT - RIGHT) / 60 - 2);
    return this.buckets.map((b) => {
      let y = bottom;
      return ENDED.filter((g) => b.ended[g]).map((g) => {
        const height = Math.max(2, (b.ended[g] / most) * room);
        y -= height;
        return s('rect', { class: `f-${g}`, x: Math.max(LEFT, this.x(b.at) - 1 - width).toFixed(1), y: y.toFixed(1), width: width.toFixed(1), height: height.toFixed(1) });
      });
    });
  }

  axis() {
    const marks = this.width < 420 ? [60, 30, 0] : [60, 45, 30, 15, 0];
    return marks.map((min) => s('text', {
      class: 'tick', x: this.x(this.end - min * 60000), y: HEIGHT - 4,
      'text-anchor': min === 0 ? 'end' : min === 60 ? 'start' : 'middle',
    }, min === 0 ? 'now' : `${min}m`));
  }

  // point says what was at the time under the pointer.
  point(e) {
    if (!this.points) return;
    const box = this.svg.getBoundingClientRect();
    const part = (e.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT);
    const at = this.end - HOUR * (1 - Math.min(1, Math.max(0, part)));
    const near = this.points.reduce((best, p) => (Math.abs(p.at - at) < Math.abs(best.at - at) ? p : best));
    const bucket = this.buckets.find((b) => near.at > b.at - BUCKET && near.at <= b.at);
    const x = this.x(near.at);
    this.cursor?.remove();
    this.cursor = s('line', { class: 'cursor', x1: x, x2: x, y1: 4, y2: HEIGHT - AXIS });
    this.svg.append(this.cursor);
    const words = [...LIVE.filter((g) => near.live[g]).map((g) => `${count(near.live[g])} ${g}`),
      ...ENDED.filter((g) => bucket?.ended[g]).map((g) => `${count(bucket.ended[g])} ${g}`)];
    set(this.tip, h('span', { class: 'strong' }, clock(near.at)), ` ${words.join(', ') || 'no tasks'}`);
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(Math.max(0, x - this.tip.offsetWidth / 2), this.width - this.tip.offsetWidth)}px`;
  }
}

// grouped sums a sample's states to the groups that the chart shows.
function grouped({ at, counts }) {
  const out = { at, live: {}, ended: {} };
  for (const [state, n] of Object.entries(counts)) {
    const { group } = taskState(state);
    const to = ENDED.includes(group) ? out.ended : out.live;
    to[group] = (to[group] || 0) + n;
  }
  return out;
}

// buckets sums what ended to whole minutes; at is the end of the minute.
function buckets(samples) {
  const out = new Map();
  for (const p of samples) {
    const at = Math.ceil(p.at / BUCKET) * BUCKET;
    const b = out.get(at) || { at, ended: {} };
    for (const [g, n] of Object.entries(p.ended)) b.ended[g] = (b.ended[g] || 0) + n;
    out.set(at, b);
  }
  return [...out.values()];
}

function sum(counts, groups) {
  return groups.reduce((n, g) => n + (counts[g] || 0), 0);
}

// nice is the next round number from n on.
function nice(n) {
  const unit = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((f) => f * unit).find((v) => v >= n);
}

function grid(width, top, most) {
  const line = (y) => s('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y, y2: y });
  const text = (y, n) => s('text', { class: 'tick', x: LEFT - 6, y: y + 4, 'text-anchor': 'end' }, count(n));
  return [line(8), line(AREA), line(HEIGHT - AXIS), text(8, top), text(AREA - 4, 0), text(AREA + GAP + 4, most)];
}

function legend() {
  const entry = (group, word) => h('span', null, h('i', { class: `key b-${group}` }), word);
  return h('div', { class: 'legend', 'aria-hidden': 'true' }, entry('running', 'running'), entry('pending', 'staging, starting'),
    h('span', { class: 'muted' }, 'ended in a minute:'), entry('finished', 'finished'), entry('failed', 'failed, lost'), entry('killed', 'killed'));
}
