// Small pieces that several pages use.

import { h, icon, set } from './dom.js';
import { bytes, count, exact, exactBytes, megabytes, number, percent, shorten, span, taskState } from './format.js';

let nodeNow = () => Date.now();
let absolute = false;

// startTimes keeps every shown age right. now tells the time on the node.
export function startTimes(now) {
  nodeNow = now;
  absolute = stored('times') === 'absolute';
  setInterval(() => document.querySelectorAll('[data-at]').forEach(tick), 1000);
}

// stored reads a choice of the user; a browser may forbid that.
export function stored(name) {
  try {
    return localStorage.getItem(`clusterd.${name}`);
  } catch {
    return null;
  }
}

export function store(name, value) {
  try {
    localStorage.setItem(`clusterd.${name}`, value);
  } catch {
    // The choice then lasts as long as the page.
  }
}

function tick(el) {
  const at = Number(el.dataset.at);
  const mode = el.dataset.mode;
  let text;
  if (mode === 'since') text = span(nodeNow() - at);
  else if (mode === 'left') text = at > nodeNow() ? span(at - nodeNow()) : 'over';
  else if (absolute) text = exact(at);
  else text = `${span(nodeNow() - at)} ago`;
  if (el.textContent !== text) el.textContent = text;
}

function switchTimes() {
  absolute = !absolute;
  store('times', absolute ? 'absolute' : 'relative');
  document.querySelectorAll('[data-at]').forEach(tick);
}

// ago shows how long ago a moment was; a click shows all times exactly.
export function ago(at) {
  if (!at) return h('span', { class: 'none' }, '–');
  const el = h('time', {
    'data-at': at, datetime: new Date(at).toISOString(), title: exact(at), class: 'ago',
    onclick: (e) => { e.preventDefault(); e.stopPropagation(); switchTimes(); },
  });
  tick(el);
  return el;
}

// lasting counts from a moment on, until how long it is to a moment.
export function lasting(at) {
  const el = h('time', { 'data-at': at, 'data-mode': 'since', title: `since ${exact(at)}` });
  tick(el);
  return el;
}

export function until(at) {
  const el = h('time', { 'data-at': at, 'data-mode': 'left', title: exact(at) });
  tick(el);
  return el;
}

// size shows bytes, exactly on hover.
export function size(n) {
  return h('span', { title: exactBytes(n) }, bytes(n));
}

// copyButton copies text and says so.
export function copyButton(text, what) {
  const button = h('button', {
    class: 'copy', type: 'button', title: `Copy ${what}`, 'aria-label': `Copy ${what}`,
    onclick: async (e) => {
      e.preventDefault();
      e.stopPropagation();
      const done = await copy(text);
      set(button, icon(done ? 'check' : 'close'));
      button.classList.toggle('done', done);
      setTimeout(() => { set(button, icon('copy')); button.classList.remove('done'); }, 1500);
    },
  }, icon('copy'));
  return button;
}

// copy uses the clipboard, or on a page without TLS a hidden field.
async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed: try the other way.
    }
  }
  const field = h('textarea', { class: 'offscreen', 'aria-hidden': 'true' });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  return done;
}

// id shows an id shortened in the middle, whole on hover, with a button to copy it.
export function id(text, what = 'id', max = 20) {
  if (!text) return h('span', { class: 'none' }, '–');
  return h('span', { class: 'id' }, h('code', { title: text }, shorten(text, max)), copyButton(text, what));
}

// badge shows a task's state: colour, sign and word.
export function badge(name, healthy) {
  const { word, group, sign } = taskState(name);
  const sick = healthy === false;
  return h('span', { class: `badge t-${sick ? 'unreachable' : group}`, title: sick ? `${name}, its health check fails` : name },
    h('span', { class: 'sign', 'aria-hidden': 'true' }, sick ? '!' : sign), sick ? 'Unhealthy' : word);
}

const OTHER = {
  active: ['Active', 'running', '●'],
  leader: ['Leader', 'running', '●'],
  follower: ['Follower', 'finished', '○'],
  candidate: ['Candidate', 'pending', '◌'],
  inactive: ['Inactive', 'finished', '○'],
  disconnected: ['Disconnected', 'unreachable', '⚠'],
  recovered: ['Recovered', 'pending', '◌'],
  completed: ['Completed', 'finished', '✓'],
  deactivated: ['Deactivated', 'killed', '■'],
  draining: ['Draining', 'pending', '◔'],
  drained: ['Drained', 'finished', '○'],
  unreachable: ['Unreachable', 'failed', '⚠'],
  gone: ['Gone', 'failed', '✕'],
};

// status shows the state of a framework, an agent or a master.
export function status(name) {
  const [word, group, sign] = OTHER[name] || [name, 'unreachable', '?'];
  return h('span', { class: `badge t-${group}` }, h('span', { class: 'sign', 'aria-hidden': 'true' }, sign), word);
}

const KINDS = {
  cpus: { name: 'CPUs', show: number },
  mem: { name: 'Memory', show: megabytes },
  disk: { name: 'Disk', show: megabytes },
  gpus: { name: 'GPUs', show: number },
};

export function quantity(kind, n) {
  return KINDS[kind].show(n);
}

// bar shows what of a resource is allocated, offered and free.
export function bar(kind, total, allocated, offered) {
  const { name, show } = KINDS[kind];
  const part = (n) => (total > 0 ? Math.min(1, Math.max(0, n / total)) : 0);
  const used = h('span', { class: 'used' });
  const lent = h('span', { class: 'lent' });
  used.style.width = `${part(allocated) * 100}%`;
  lent.style.width = `${Math.min(1 - part(allocated), part(offered)) * 100}%`;
  const free = Math.max(0, total - allocated - offered);
  const text = `${name}: ${show(allocated)} allocated, ${show(offered)} offered, ${show(free)} free of ${show(total)}`;
  return h('span', { class: 'bar', role: 'img', 'aria-label': text, title: text }, used, lent);
}

// meter is a bar with its numbers, for a table cell.
export function meter(kind, agent) {
  const total = agent.total[kind];
  if (!total) return h('span', { class: 'none' }, '–');
  const allocated = agent.allocated[kind];
  return h('span', { class: 'meter' }, bar(kind, total, allocated, agent.offered[kind]),
    h('span', { class: 'small' }, `${quantity(kind, allocated)} / ${quantity(kind, total)}`));
}

// resourceBars shows all kinds that there are, with allocated, offered, free.
export function resourceBars(total, allocated, offered, rest = 'free') {
  return Object.keys(KINDS).filter((k) => k !== 'gpus' || total.gpus > 0).map((kind) => {
    const { name, show } = KINDS[kind];
    const free = Math.max(0, total[kind] - allocated[kind] - offered[kind]);
    const part = total[kind] > 0 ? allocated[kind] / total[kind] : 0;
    return h('div', { class: 'resource' },
      h('div', { class: 'resource-head' }, h('span', { class: 'strong' }, name), h('span', null, `${percent(part)} of ${show(total[kind])}`)),
      bar(kind, total[kind], allocated[kind], offered[kind]),
      h('div', { class: 'legend' },
        h('span', null, h('i', { class: 'key used' }), `${show(allocated[kind])} allocated`),
        h('span', null, h('i', { class: 'key lent' }), `${show(offered[kind])} offered`),
        h('span', null, h('i', { class: 'key' }), `${show(free)} ${rest}`)));
  });
}

// resourceList is one line for what a task has: "0.1 CPUs · 32 MB · 10 MB disk".
export function resourceList(r) {
  const out = [`${number(r.cpus)} CPUs`, megabytes(r.mem)];
  if (r.disk) out.push(`${megabytes(r.disk)} disk`);
  if (r.gpus) out.push(`${number(r.gpus)} GPUs`);
  return out.join(' · ');
}

// card is a titled part of a page.
export function card(title, body, ...more) {
  return h('section', { class: 'card' }, h('header', { class: 'card-head' }, h('h2', null, title), more), body);
}

// facts is a list of names and values; those without a value are left out.
export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(([, v]) => v !== null && v !== undefined && v !== '' && !(Array.isArray(v) && v.length === 0))
    .map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

// labels shows keys with values.
export function labels(list) {
  return list.map((l) => h('span', { class: 'label' }, h('span', { class: 'muted' }, l.key), l.value === '' ? null : [' ', l.value]));
}

// command is a line to be typed, with a button to copy it.
export function command(text) {
  return h('div', { class: 'command' }, h('code', null, text), copyButton(text, 'command'));
}

// empty says that there is nothing, and what to do about it.
export function empty(title, ...more) {
  return h('div', { class: 'empty' }, h('p', { class: 'strong' }, title), more);
}

// noAgents says how a cluster gets its first agent.
export function noAgents(join) {
  return empty('No agent has joined yet', join
    ? [h('p', { class: 'muted' }, 'On each machine that is to run tasks:'), command(join)]
    : h('p', { class: 'muted' }, 'An agent is here as soon as it has registered.'));
}

// crumbs lead back up.
export function crumbs(...steps) {
  return h('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }, steps.map(([text, href], i) => [
    i > 0 ? h('span', { 'aria-hidden': 'true' }, '/') : null,
    href ? h('a', { href }, text) : h('span', { 'aria-current': 'page' }, text)]));
}

// stateCounts is a row of numbers by state.
export function stateCounts(entries) {
  return h('ul', { class: 'counts' }, entries.map(({ name, n, href }) => {
    const { word, group, sign } = taskState(name);
    const inner = [h('span', { class: `sign c-${group}`, 'aria-hidden': 'true' }, sign), h('span', { class: 'n' }, count(n)), h('span', { class: 'muted' }, word)];
    return h('li', { class: n ? '' : 'zero' }, href ? h('a', { href, title: `${n} ${word}` }, inner) : inner);
  }));
}

