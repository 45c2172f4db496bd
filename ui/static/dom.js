// Elements without markup: every text is set as text, every attribute by name,
// so nothing that a framework calls itself can become a part of the page.

const SVG = 'http://www.w3.org/2000/svg';

// h makes an element: h('a', {href: '#/', class: 'x', onclick: f}, 'text', child).
// Children may be nested arrays; null and false are left out.
export function h(tag, props, ...kids) {
  return fill(document.createElement(tag), props, kids);
}

// s is h for SVG elements.
export function s(tag, props, ...kids) {
  return fill(document.createElementNS(SVG, tag), props, kids);
}

function fill(el, props, kids) {
  for (const [name, value] of Object.entries(props || {})) attribute(el, name, value);
  el.append(...flat(kids));
  return el;
}

function attribute(el, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith('on')) {
    el.addEventListener(name.slice(2), value);
  } else if (name === 'href' && !/^(#|\/(?!\/)|https?:\/\/)/.test(value)) {
    return; // neither ours nor of the web: no link
  } else {
    el.setAttribute(name, value === true ? '' : String(value));
  }
}

function flat(kids) {
  return kids.flat(Infinity).filter((k) => k !== null && k !== undefined && k !== false)
    .map((k) => (k instanceof Node ? k : document.createTextNode(String(k))));
}

// set replaces what is in the element.
export function set(el, ...kids) {
  el.replaceChildren(...flat(kids));
  return el;
}

// part is an element whose content depends on some data only: draw is called
// again when the data has changed, and the element stays.
export function part(el, draw) {
  let was;
  return {
    el,
    show(...data) {
      const is = JSON.stringify(data);
      if (is === was) return;
      was = is;
      set(el, draw(...data));
    },
  };
}

// arrange makes the children of parent those in nodes, in that order, moving as
// few as it can; the focused element keeps the focus.
export function arrange(parent, nodes) {
  const focused = document.activeElement;
  const wanted = new Set(nodes);
  for (const node of [...parent.childNodes]) {
    if (!wanted.has(node)) node.remove();
  }
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  if (focused && focused !== document.activeElement && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

const PATHS = {
  copy: 'M5 5V3a1 1 0 0 1 1-1h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-2M3 5h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z',
  check: 'M3 8.5l3.2 3.2L13 5',
  search: 'M11 11l3 3M12 7A5 5 0 1 1 2 7a5 5 0 0 1 10 0z',
  out: 'M6 3H3v10h10v-3M9 2h5v5M14 2L7 9',
  folder: 'M2 4a1 1 0 0 1 1-1h3.5l1.5 2H13a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1z',
  file: 'M4 2h5l3 3v9H4zM9 2v3h3',
  down: 'M8 3v8M4.5 7.5L8 11l3.5-3.5M3 14h10',
  up: 'M8 13V4M4 8l4-4 4 4',
  end: 'M8 2v8M4 6.5L8 10.5l4-4M3 14h10',
  start: 'M8 14V6M4 9.5L8 5.5l4 4M3 2h10',
  below: 'M8 3v9M4 8l4 4 4-4',
  next: 'M6 3l5 5-5 5',
  prev: 'M10 3L5 8l5 5',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M5 3l8 5-8 5z',
  wrap: 'M2 4h12M2 8h9.5a2.2 2.2 0 0 1 0 4.5H8M10 10.5l-2 2 2 2M2 12.5h3',
  close: 'M4 4l8 8M12 4l-8 8',
  help: 'M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.7M8 12.2v.1',
};

// icon draws one of the small pictures; it says nothing to a screen reader.
export function icon(name) {
  return s('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, s('path', { d: PATHS[name] }));
}
