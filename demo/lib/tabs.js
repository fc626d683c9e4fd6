/**
 * Tabs as the ARIA Authoring Practices describe them: arrows, Home and End move, and what is chosen is shown.
 *
 * @module
 */

/**
 * @param {HTMLElement} list an element with role tablist; its tabs name their panels by `aria-controls`
 * @param {(name: string) => void} onChange gets the tab's id without `tab-`
 */
export function makeTabs(list, onChange) {
  const tabs = /** @type {HTMLButtonElement[]} */ ([...list.querySelectorAll('[role=tab]')]);
  const nameOf = (/** @type {HTMLElement} */ tab) => tab.id.replace('tab-', '');

  /** @param {HTMLButtonElement} chosen */
  function choose(chosen) {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute('aria-selected', String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute('aria-controls') ?? '');
      if (panel) panel.hidden = !isChosen;
    }
    // Only sideways: the page itself stays where it is.
    const box = list.getBoundingClientRect();
    const tab = chosen.getBoundingClientRect();
    if (tab.left < box.left || tab.right > box.right) list.scrollLeft += tab.left - box.left - 16;
    onChange(nameOf(chosen));
  }

  list.addEventListener('click', (event) => {
    const tab = tabs.find((one) => one.contains(/** @type {Node} */ (event.target)));
    if (tab) choose(tab);
  });
  list.addEventListener('keydown', (event) => {
    const at = tabs.findIndex((tab) => tab.getAttribute('aria-selected') === 'true');
    const last = tabs.length - 1;
    /** @type {Record<string, number>} */
    const moves = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last };
    const next = tabs[moves[event.key] ?? -1];
    if (!next) return;
    event.preventDefault();
    choose(next);
    next.focus();
  });
  return {
    get current() {
      return nameOf(tabs.find((tab) => tab.getAttribute('aria-selected') === 'true') ?? tabs[0]);
    },
    /** @param {string | null} name unknown ones change nothing */
    choose(name) {
      const tab = tabs.find((one) => nameOf(one) === name);
      if (tab) choose(tab);
    },
  };
}
