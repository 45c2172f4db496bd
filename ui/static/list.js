// A list that is filtered, sorted and paged by the node. Its place is in the
// address: search, filter, order and page can be shared, and "back" works.

import { arrange, h, icon, set } from './dom.js';
import { count, plural, taskState, topic } from './format.js';
import { empty } from './widgets.js';

const PAGE = 50;
const TYPING_MS = 200;

// List shows one kind of rows.
//
//	ctx       the page's context (stream, query, setQuery)
//	name      the topic and, in the plural, what the rows are: "tasks"
//	fixed     query that the user cannot change: {framework: id}
//	columns   [{name, title, sort, number, priority, cell(row), full(row)}];
//	          full is the whole text of a cell that may be cut short
//	order     the default order: "-started"
//	filters   [[value, label, group]]: the number of each comes with the data
//	href(row) where a row leads
//	nothing(fields) what to show when there are no rows at all
export class List {
  constructor(options) {
    Object.assign(this, { fixed: {}, filters: [], filter: '' }, options);
    this.rows = new Map(); // key: {el, body}
    this.stop = () => {};
    this.build();
    this.read(this.ctx.query);
  }

  build() {
    this.search = h('input', {
      type: 'search', placeholder: `Search ${this.name}`, 'aria-label': `Search ${this.name}`, 'data-search': true,
      autocomplete: 'off', spellcheck: 'false', maxlength: 200, oninput: () => this.typed(),
    });
    this.tabs = h('div', { class: 'filters', role: 'group', 'aria-label': 'Filter' });
    this.body = h('tbody', { onkeydown: (e) => this.key(e), onclick: (e) => this.click(e) });
    this.headRow = h('tr');
    this.table = h('table', { class: `list rows ${this.name}`, 'aria-label': this.name }, h('thead', null, this.headRow), this.body);
    this.note = h('div', { hidden: true });
    this.summary = h('span', { class: 'muted', 'aria-live': 'off' });
    this.before = h('button', { type: 'button', class: 'ghost', 'aria-label': 'Previous page', onclick: () => this.turn(-1) }, icon('prev'));
    this.after = h('button', { type: 'button', class: 'ghost', 'aria-label': 'Next page', onclick: () => this.turn(1) }, icon('next'));
    // On a phone the rows have no heads to sort by.
    this.sorts = h('select', { class: 'phone-sort', 'aria-label': 'Sort by', onchange: () => this.go({ sort: this.sorts.value, page: '' }) },
      this.columns.filter((c) => c.sort).map((c) => {
        const down = Boolean(c.number || c.newest);
        return h('option', { value: (down ? '-' : '') + c.sort }, `Sort by ${c.title.toLowerCase()}`);
      }));
    this.el = h('div', { class: 'listing' },
      h('div', { class: 'toolbar' }, h('label', { class: 'searchbox' }, icon('search'), this.search), this.tabs, this.sorts),
      h('div', { class: 'scroll' }, this.table), this.note,
      h('div', { class: 'pager' }, this.summary, h('span', { class: 'turn' }, this.before, this.after)));
  }

  // read takes the place from the query of the address.
  read(query) {
    this.q = query.q || '';
    this.state = query.state ?? this.filter;
    this.sort = query.sort || this.order;
    this.offset = Math.max(0, (parseInt(query.page, 10) || 1) - 1) * PAGE;
    if (document.activeElement !== this.search) this.search.value = this.q;
    this.drawHead();
    this.drawTabs();
    this.watch();
  }

  watch() {
    const name = topic([this.name], {
      ...this.fixed, q: this.q, state: this.state === 'all' ? '' : this.state, sort: this.sort, offset: this.offset || '', limit: PAGE,
    });
    if (name === this.watched) return;
    this.watched = name;
    const stop = this.stop;
    this.el.setAttribute('aria-busy', 'true');
    this.stop = this.ctx.stream.subscribe(name, (data) => this.show(data));
    stop(); // after the new one, so that what is shown stays until it comes
  }

  close() {
    clearTimeout(this.timer);
    this.stop();
  }

  show(data) {
    this.el.setAttribute('aria-busy', 'false');
    if (data.error) {
      this.message(empty('This list cannot be shown', h('p', { class: 'muted' }, data.error)));
      return;
    }
    this.fields = data.fields;
    const elements = data.rows.map((row) => this.row(row));
    const keys = new Set(data.rows.map((row) => row.key));
    for (const key of this.rows.keys()) if (!keys.has(key)) this.rows.delete(key);
    arrange(this.body, elements);
    this.roving();
    this.drawTabs();
    this.drawPager(data.fields);
    this.message(this.nothingText(data));
  }

  // nothingText is what to say when no row is there, or null.
  nothingText(data) {
    if (data.rows.length > 0) return null;
    if (this.q) {
      return empty(`Nothing matches “${this.q}”`, h('button', { type: 'button', onclick: () => this.go({ q: '', page: '' }) }, 'Clear the search'));
    }
    if (data.fields.groups.all > 0) {
      const label = (this.filters.find(([value]) => value === this.state) || [])[1] || taskState(this.state).word;
      return empty(`No ${this.name} here with the filter “${label}”`, h('button', { type: 'button', onclick: () => this.go({ state: 'all', page: '' }) }, 'Show all'));
    }
    return this.nothing(data.fields);
  }

  message(el) {
    this.table.hidden = el !== null;
    this.note.hidden = el === null;
    set(this.note, el);
  }

  // row returns the element of the row; its cells are made anew only when
  // something in it has changed.
  row(data) {
    const body = JSON.stringify(data);
    let entry = this.rows.get(data.key);
    if (entry && entry.body === body) return entry.el;
    if (!entry) {
      entry = { el: h('tr', { tabindex: '-1' }) };
      this.rows.set(data.key, entry);
    }
    entry.body = body;
    entry.el.dataset.href = this.href(data);
    set(entry.el, this.columns.map((c) => h('td', { class: classes(c), title: c.full && c.full(data) }, c.cell(data))));
    return entry.el;
  }

  // roving keeps exactly one row in the tab order.
  roving() {
    const rows = [...this.body.children];
    if (rows.length > 0 && !rows.some((r) => r.tabIndex === 0)) rows[0].tabIndex = 0;
  }

  focusRow(row) {
    if (!row) return;
    for (const r of this.body.children) r.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
    row.scrollIntoView({ block: 'nearest' });
  }

  // move goes some rows up or down from the focused one, or to the first.
  move(by) {
    const row = document.activeElement.closest?.('tr');
    if (!row || row.parentElement !== this.body) {
      this.focusRow(this.body.querySelector('tr[tabindex="0"]') || this.body.firstElementChild);
      return;
    }
    this.focusRow(by > 0 ? row.nextElementSibling : row.previousElementSibling);
  }

  key(e) {
    if (e.key === 'Enter' && e.target.tagName === 'TR') location.hash = e.target.dataset.href;
  }

  click(e) {
    if (e.target.closest('a, button, input') || String(getSelection()) !== '') return;
    const row = e.target.closest('tr');
    if (row) location.hash = row.dataset.href;
  }

  drawHead() {
    const down = this.sort.startsWith('-');
    const by = this.sort.replace(/^-/, '');
    this.sorts.value = this.sort;
    set(this.headRow, this.columns.map((c) => {
      if (!c.sort) return h('th', { scope: 'col', class: classes(c) }, c.title);
      const mine = c.sort === by;
      // Numbers and times are wanted greatest first, names the other way.
      const next = mine ? !down : Boolean(c.number || c.newest);
      return h('th', { scope: 'col', class: classes(c), 'aria-sort': mine ? (down ? 'descending' : 'ascending') : 'none' },
        h('button', { type: 'button', onclick: () => this.go({ sort: (next ? '-' : '') + c.sort, page: '' }) },
          c.title, h('span', { class: 'arrow', 'aria-hidden': 'true' }, mine ? (down ? '↓' : '↑') : '\u200b')));
    }));
  }

  drawTabs() {
    const groups = (this.fields && this.fields.groups) || {};
    const made = this.filters.map(([value, label, group]) => {
      const n = groups[group] || 0;
      const chosen = (this.state || 'all') === value;
      return h('button', {
        type: 'button', 'aria-pressed': String(chosen), class: chosen ? 'chosen' : '',
        onclick: () => this.go({ state: value === (this.filter || 'all') ? '' : value, page: '' }),
      }, label, this.fields ? h('span', { class: 'n' }, count(n)) : null);
    });
    const chosen = this.state || 'all';
    if (!this.filters.some(([value]) => value === chosen)) {
      made.push(h('button', { type: 'button', class: 'chosen', 'aria-pressed': 'true', title: 'Remove this filter', onclick: () => this.go({ state: '', page: '' }) },
        taskState(chosen).word, icon('close')));
    }
    const was = [...this.tabs.children].indexOf(document.activeElement);
    set(this.tabs, made);
    if (was >= 0) made[was]?.focus();
  }

  drawPager({ matched, offset }) {
    const shown = this.body.children.length;
    this.before.disabled = offset === 0;
    this.after.disabled = offset + shown >= matched;
    this.summary.textContent = matched > shown
      ? `${count(offset + 1)}–${count(offset + shown)} of ${plural(matched, this.name.replace(/s$/, ''))}`
      : plural(matched, this.name.replace(/s$/, ''));
    this.el.classList.toggle('paged', matched > shown);
  }

  turn(by) {
    const button = by < 0 ? this.before : this.after;
    if (button.disabled || !this.fields) return;
    const to = Math.floor(this.fields.offset / PAGE) + 1 + by;
    this.go({ page: to > 1 ? to : '' });
    this.el.scrollIntoView({ block: 'start' });
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.go({ q: this.search.value.trim(), page: '' }, true), TYPING_MS);
  }

  // go changes the place in the address; that calls read.
  go(change, replace) {
    this.ctx.setQuery({ ...this.ctx.query, ...change }, replace);
  }
}

function classes(c) {
  return [`col-${c.name}`, c.number ? 'number' : '', c.priority ? `p${c.priority}` : ''].filter(Boolean).join(' ');
}
