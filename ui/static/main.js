// The frame of the page: what is at the top, which page is shown, the keyboard.

import { h, icon, part, set, s } from './dom.js';
import { clock, queryText } from './format.js';
import { Stream } from './stream.js';
import { ago, empty, startTimes } from './widgets.js';
import { help } from './dialogs.js';
import { overviewPage } from './page_overview.js';
import { frameworkPage, frameworksPage } from './page_frameworks.js';
import { agentPage, agentsPage } from './page_agents.js';
import { tasksPage } from './page_tasks.js';
import { taskPage } from './page_task.js';
import { browsePage, filePage } from './page_sandbox.js';

// ROUTES are the addresses below "#/"; ":" stands for one id.
const ROUTES = [
  ['', overviewPage],
  ['tasks', tasksPage],
  ['tasks/:/:', taskPage],
  ['frameworks', frameworksPage],
  ['frameworks/:', frameworkPage],
  ['agents', agentsPage],
  ['agents/:', agentPage],
  ['agents/:/browse', browsePage],
  ['agents/:/file', filePage],
].map(([path, make]) => ({ parts: path.split('/'), make }));

const NAV = [['Overview', '#/', 'o'], ['Tasks', '#/tasks', 't'], ['Frameworks', '#/frameworks', 'f'], ['Agents', '#/agents', 'a']];

const main = document.getElementById('main');
const places = new Map(); // scroll positions by step of the history, for "back"
let step = history.state?.step || 0;
let page = null;
let route = null;
let context = null;

// parse splits an address into path and query.
function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const parts = path.split('/').map((p) => {
    try {
      return decodeURIComponent(p);
    } catch {
      return p;
    }
  });
  if (parts[0] === 'slaves') parts[0] = 'agents'; // addresses of the original
  return { parts, query: Object.fromEntries(new URLSearchParams(query || '')), path: parts.join('\n') };
}

function find(parts) {
  for (const r of ROUTES) {
    if (r.parts.length !== parts.length) continue;
    if (r.parts.every((p, i) => (p === ':' ? parts[i] !== '' : p === parts[i]))) {
      return { make: r.make, params: parts.filter((_, i) => r.parts[i] === ':') };
    }
  }
  return null;
}

// go shows what the address names. When only the query has changed, the page
// stays and is told.
function go() {
  const to = parse(location.hash);
  const known = history.state?.step;
  if (known === undefined) history.replaceState({ step: ++step }, '');
  if (route && to.path === route.path && page && page.query) {
    context.query = to.query;
    route = { ...to, step: history.state.step };
    page.query(to.query);
    return;
  }
  if (route) places.set(route.step, scrollY);
  page?.close();
  route = { ...to, step: history.state.step };
  context = { stream, params: [], query: to.query, title, setQuery };
  const found = find(to.parts);
  if (found) {
    context.params = found.params;
    page = found.make(context);
  } else {
    title('Not found');
    page = { el: empty('There is no such page', h('a', { href: '#/' }, 'To the overview')), close() {} };
  }
  set(main, page.el);
  mark(to.parts[0]);
  if (shown) main.querySelector('h1')?.focus({ preventScroll: true });
  shown = true;
  scrollBack(known === undefined ? 0 : places.get(known) || 0);
}

// scrollBack scrolls to where the user was, once the page is that long again.
function scrollBack(y) {
  scrollTo(0, y);
  if (y === 0) return;
  const observer = new ResizeObserver(() => {
    scrollTo(0, y);
    if (scrollY >= y - 1) observer.disconnect();
  });
  observer.observe(main);
  setTimeout(() => observer.disconnect(), 2000);
}

let shown = false;

// setQuery changes the query of the address: as a new step of the history, or
// in place while somebody types.
function setQuery(query, replace) {
  const text = queryText(query);
  const path = location.hash.split('?')[0] || '#/';
  const state = { step: replace ? step : ++step };
  history[replace ? 'replaceState' : 'pushState'](state, '', text ? `${path}?${text}` : path);
  go();
}

function title(text) {
  document.title = text ? `${text} · clusterd` : 'clusterd';
}

function mark(section) {
  for (const a of document.querySelectorAll('#top nav a')) {
    if (a.getAttribute('href') === `#/${section}`) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
}

const WORDS = { connecting: 'Connecting', connected: 'Connected', reconnecting: 'Reconnecting', stale: 'Stale' };
const SIGNS = { connecting: '◌', connected: '●', reconnecting: '↻', stale: '⚠' };
const live = h('div', { class: 'live' });
const word = part(h('span', { role: 'status' }), (name) => {
  live.className = `live is-${name}`;
  return [h('span', { class: 'sign', 'aria-hidden': 'true' }, SIGNS[name]), h('span', { class: 'word' }, WORDS[name])];
});
const lastMessage = part(h('span', { class: 'last', title: 'Last message' }), (last) => (last ? clock(last) : ''));
live.append(word.el, lastMessage.el);

const banner = part(document.getElementById('banner'), (state, trouble, last) => {
  banner.el.hidden = !trouble && (state === 'connected' || state === 'connecting');
  if (banner.el.hidden) return null;
  const since = last ? h('span', { 'aria-hidden': 'true' }, 'What you see is of ', clock(last), ', ', ago(last), '.') : null;
  if (trouble && state === 'connected') return [h('strong', null, 'No news of the cluster: '), trouble];
  if (state === 'stale') return [h('strong', null, 'The node has gone quiet. '), since];
  return [h('strong', null, 'Connection lost, trying again. '), since];
});

// news shows the state of the stream; the time of the last message is drawn at
// most once a second.
function news({ state, last, text }) {
  word.show(text && state === 'connected' ? 'stale' : state);
  lastMessage.show(Math.floor(last / 1000) * 1000);
  banner.show(state, text, state === 'connected' ? 0 : last);
}

function frame() {
  const logo = s('svg', { class: 'logo', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
    s('rect', { width: 32, height: 32, rx: 7, class: 'logo-back' }),
    [[7, 7, ''], [17, 7, 'dim'], [7, 17, 'dim'], [17, 17, '']].map(([x, y, c]) => s('rect', { x, y, width: 8, height: 8, rx: 2, class: `logo-cell ${c}` })));
  set(document.getElementById('top'),
    h('a', { href: '#/', class: 'brand', 'aria-label': 'clusterd, overview' }, logo, h('span', null, 'clusterd')),
    h('nav', { 'aria-label': 'Pages' }, NAV.map(([text, href]) => h('a', { href }, text))),
    live, h('button', { type: 'button', class: 'ghost helpbutton', title: 'Keyboard help (?)', 'aria-label': 'Keyboard help', onclick: help }, icon('help')));
}

let prefix = 0; // when "g" was pressed

function typing(el) {
  return el.closest('input, textarea, select, [contenteditable]') !== null;
}

function key(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
  if (e.key === 'Escape' && typing(e.target)) e.target.blur();
  if (typing(e.target)) return;
  if (Date.now() - prefix < 1000) {
    prefix = 0;
    const to = NAV.find(([, , letter]) => letter === e.key);
    if (to) location.hash = to[1];
    return;
  }
  const list = page && page.list;
  const inLog = e.target.closest('.logbox');
  const acts = {
    g: () => { prefix = Date.now(); },
    '?': help,
    '/': () => main.querySelector('input[type=search]')?.focus(),
    ArrowDown: () => list.move(1),
    j: () => list.move(1),
    ArrowUp: () => list.move(-1),
    k: () => list.move(-1),
    '[': () => list.turn(-1),
    ']': () => list.turn(1),
  };
  const needsList = ['ArrowDown', 'ArrowUp', 'j', 'k', '[', ']'].includes(e.key);
  if (!acts[e.key] || (needsList && (!list || inLog)) || ('[]'.includes(e.key) && !list.turn)) return;
  e.preventDefault();
  acts[e.key]();
}

const address = new URL('/ui/stream', location.href);
address.protocol = address.protocol.replace('http', 'ws');
address.hash = '';
frame();
const stream = new Stream(address, news);
startTimes(() => stream.now());
addEventListener('hashchange', go);
document.addEventListener('keydown', key);
go();
