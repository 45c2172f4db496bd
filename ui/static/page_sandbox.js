// Sandbox: the directories and files of an agent that a task has left.

import { arrange, h, icon, part } from './dom.js';
import { link, plural, shorten, topic } from './format.js';
import { ago, card, crumbs, empty, id, size } from './widgets.js';
import { browse } from './page_task.js';
import { Log } from './log.js';

const IMAGE = /\.(png|jpe?g|gif|webp)$/i;

export function download(agentID, path) {
  return `/ui/download?${new URLSearchParams({ agent: agentID, path })}`;
}

function view(agentID, path, root) {
  return link(['agents', agentID, 'file'], { path, root });
}

function baseName(path) {
  return path.slice(path.lastIndexOf('/') + 1);
}

// trail is the way from the root of the sandbox to the path.
function trail(agentID, path, root) {
  const from = root && (path === root || path.startsWith(`${root}/`)) ? root : path;
  const steps = [['Agents', '#/agents'], [shorten(agentID), link(['agents', agentID])]];
  steps.push([from === root ? 'sandbox' : from, browse(agentID, from, root)]);
  let at = from;
  for (const name of path.slice(from.length).split('/').filter(Boolean)) {
    at += `/${name}`;
    steps.push([name, browse(agentID, at, root)]);
  }
  delete steps[steps.length - 1][1];
  return crumbs(...steps);
}

export function browsePage(ctx) {
  const agentID = ctx.params[0];
  const path = (ctx.query.path || '').replace(/(?!^)\/+$/, '');
  const root = ctx.query.root || path;
  ctx.title(`Files of ${baseName(path)}`);
  if (!path) return { el: empty('No directory is named', h('a', { href: link(['agents', agentID]) }, 'To the agent')), close() {} };
  const listing = new Listing(agentID, path, root);
  const stop = ctx.stream.subscribe(topic(['files', agentID], { path }), (data) => listing.show(data));
  return {
    el: h('div', null, trail(agentID, path, root), h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, path === root ? 'Sandbox' : baseName(path)), id(path, 'path', 64),
      h('a', { class: 'button push', href: `${download(agentID, path)}&archive=tar`, download: true }, icon('down'), 'Download all')), listing.el),
    close: stop,
    list: listing,
  };
}

const HEADS = [['Name', ''], ['Size', 'number'], ['Changed', ''], ['Mode', 'p2'], ['Links', 'p3 number'], ['Owner', 'p2'], ['Group', 'p3'], ['', '']];

// Listing shows one directory and keeps its rows as they change.
class Listing {
  constructor(agentID, path, root) {
    Object.assign(this, { agentID, path, root, rows: new Map() });
    this.body = h('tbody', { onkeydown: (e) => { if (e.key === 'Enter' && e.target.tagName === 'TR') location.hash = e.target.dataset.href; } });
    this.table = h('div', { class: 'scroll' }, h('table', { class: 'list', 'aria-label': 'Files' },
      h('thead', null, h('tr', null, HEADS.map(([text, cls]) => h('th', { scope: 'col', class: cls }, text || h('span', { class: 'offscreen' }, 'Download'))))), this.body));
    this.note = part(h('div'), (node) => this.message(node));
    this.el = card('Files', h('div', null, this.table, this.note.el));
  }

  show({ fields, rows, error }) {
    const failed = error || fields.error;
    this.table.hidden = Boolean(failed) || rows.length === 0;
    this.note.show({ failed, missing: fields.missing, rows: rows.length, total: fields.total });
    const keys = new Set(rows.map((f) => f.key));
    for (const key of this.rows.keys()) if (!keys.has(key)) this.rows.delete(key);
    arrange(this.body, rows.map((f) => this.row(f)));
    const first = this.body.firstElementChild;
    if (first && !this.body.querySelector('tr[tabindex="0"]')) first.tabIndex = 0;
  }

  message({ failed, missing, rows, total }) {
    if (missing) return empty('This directory is not there any more', h('p', { class: 'muted' }, 'Sandboxes of ended tasks are removed after a while, sooner when the disk fills up.'));
    if (failed) return empty('The agent cannot list this directory', h('p', { class: 'muted' }, failed));
    if (rows === 0) return empty('This directory is empty');
    return h('p', { class: 'muted small pad' }, rows < total ? `The first ${rows} of ${plural(total, 'entry')} are shown.`.replace('entrys', 'entries') : '');
  }

  row(f) {
    const body = JSON.stringify(f);
    let entry = this.rows.get(f.key);
    if (entry && entry.body === body) return entry.el;
    const path = `${this.path}/${f.name}`;
    const href = f.dir ? browse(this.agentID, path, this.root) : view(this.agentID, path, this.root);
    if (!entry) {
      entry = { el: h('tr', { tabindex: '-1' }) };
      this.rows.set(f.key, entry);
    }
    entry.body = body;
    entry.el.dataset.href = href;
    entry.el.replaceChildren(
      h('td', null, h('a', { href, class: 'file' }, icon(f.dir ? 'folder' : 'file'), f.name, f.dir ? '/' : '')),
      h('td', { class: 'number' }, f.dir ? '' : size(f.size)), h('td', null, ago(f.modified)),
      h('td', { class: 'p2' }, h('code', null, f.mode)), h('td', { class: 'p3 number' }, f.links), h('td', { class: 'p2' }, f.user), h('td', { class: 'p3' }, f.group),
      h('td', { class: 'tight' }, f.dir ? null : h('a', { class: 'ghost', href: download(this.agentID, path), download: f.name, 'aria-label': `Download ${f.name}`, title: 'Download' }, icon('down'))));
    return entry.el;
  }

  // move is for the keyboard, as in List.
  move(by) {
    const rows = [...this.body.children];
    const at = rows.indexOf(document.activeElement.closest?.('tr'));
    const row = at < 0 ? rows[0] : rows[at + by];
    if (!row) return;
    for (const r of rows) r.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
  }
}

export function filePage(ctx) {
  const agentID = ctx.params[0];
  const path = ctx.query.path || '';
  const root = ctx.query.root || path.slice(0, path.lastIndexOf('/'));
  ctx.title(baseName(path));
  const heading = h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, baseName(path)), id(path, 'path', 64));
  const top = [trail(agentID, path, root), heading];
  if (IMAGE.test(path)) {
    const picture = h('img', { class: 'picture', src: `${download(agentID, path)}&inline=1`, alt: baseName(path) });
    heading.append(h('a', { class: 'button push', href: download(agentID, path), download: baseName(path) }, icon('down'), 'Download'));
    return { el: h('div', null, top, card('Picture', picture)), close() {} };
  }
  const log = new Log(agentID, path);
  return { el: h('div', null, top, h('section', { class: 'card' }, log.el)), close: () => log.close() };
}
