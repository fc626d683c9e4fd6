/**
 * Small things that every panel needs of the document.
 *
 * @module
 */

/**
 * The element of an id, of the type that is wanted.
 *
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function get(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`#${id} is missing from the page`);
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** An icon of the sprite in index.html. @param {string} name */
export const icon = (name) => draw('svg', { 'aria-hidden': 'true' }, draw('use', { href: `#icon-${name}` }));

/** @param {HTMLElement} element @param {string} text */
export function show(element, text) {
  element.textContent = text;
  element.hidden = false;
}

/** @param {unknown} error @returns {string} the message, and the code that a program would look at */
export function explain(error) {
  if (!(error instanceof Error)) return String(error);
  const { code } = /** @type {{code?: unknown}} */ (error.cause ?? error);
  return typeof code === 'string' && code !== '' ? `${error.message} [${code}]` : error.message;
}

/** Terms and facts of a `dl`; empty facts are left out. @param {[string, unknown][]} facts */
export function terms(facts) {
  return facts
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .flatMap(([name, value]) => [
      make('dt', { textContent: name }),
      make('dd', { textContent: String(value), title: String(value) }),
    ]);
}

/**
 * Copies, and tells so on the button for a moment.
 *
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
export async function copyFrom(button, text) {
  const label = button.dataset.label ?? button.textContent ?? '';
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Copying is not allowed';
  }
  setTimeout(() => {
    button.textContent = label;
  }, 1600);
}
