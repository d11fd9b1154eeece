// Sorts and filters the table of answers. `element` is Gradio's: it stays while its contents come and go.
const rows = () => [...element.querySelectorAll("tbody tr")];

function filter() {
  const kind = element.querySelector("select").value;
  const words = element.querySelector("input").value.toLowerCase();
  for (const row of rows()) {
    const wanted = !kind || row.dataset.kind === kind;
    row.hidden = !(wanted && `${row.dataset.name} ${row.dataset.label}`.toLowerCase().includes(words));
  }
  element.querySelector(".count").textContent = rows().filter(row => !row.hidden).length.toLocaleString("en");
}

function sort(button) {
  const head = button.closest("th"), by = button.dataset.by, first = by === "score" ? "descending" : "ascending";
  const before = head.getAttribute("aria-sort");
  const order = before ? (before === "ascending" ? "descending" : "ascending") : first;
  const compare = by === "score"
    ? (a, b) => a.dataset.score - b.dataset.score
    : (a, b) => a.dataset[by].localeCompare(b.dataset[by], undefined, {numeric: true});
  const sign = order === "ascending" ? 1 : -1;
  element.querySelector("tbody").append(...rows().sort((a, b) => sign * compare(a, b)));
  element.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
}

element.addEventListener("input", filter);
element.addEventListener("click", event => {
  const button = event.target.closest("th button");
  if (button) sort(button);
});
