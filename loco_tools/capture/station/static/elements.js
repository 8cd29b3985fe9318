// Short ways to the elements of the page.

export const at = (id) => document.getElementById(id);

export function make(name, className = "", text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export function show(element, visible) {
  element.hidden = !visible;
}

export function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
