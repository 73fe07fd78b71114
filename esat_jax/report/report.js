"use strict";
// The page is whole without this script, which sorts tables, hides trackers and picks a rule.

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const keys = new Map([...body.rows].map((row) => [row, sortKey(row.cells[column])]));
      const numbers = [...keys.values()].every((key) => key === "" || !Number.isNaN(Number(key)));
      // What is asked first of numbers is the highest, of names the first.
      const now = head.getAttribute("aria-sort");
      const first = numbers ? "descending" : "ascending";
      const other = numbers ? "ascending" : "descending";
      const order = now === first ? other : first;
      for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        const [one, two] = [keys.get(a), keys.get(b)];
        if (one === "" || two === "") return (one === "") - (two === ""); // nothing comes last
        return sign * (numbers ? one - two : one.localeCompare(two));
      });
      body.append(...rows);
    });
  });
}

function sortKey(cell) {
  return cell.dataset.value ?? cell.textContent;
}

for (const box of document.querySelectorAll("input[data-hides]")) {
  box.addEventListener("change", () => {
    for (const part of document.querySelectorAll(`main .${box.dataset.hides}`)) {
      part.style.display = box.checked ? "" : "none";
    }
  });
  if (!box.checked) box.dispatchEvent(new Event("change")); // as a reloaded page keeps it
}

const groups = [...document.querySelectorAll(".curves[data-rule]")];
if (groups.length > 1) {
  const select = document.createElement("select");
  for (const group of groups) select.append(new Option(group.dataset.rule));
  const label = document.createElement("label");
  label.className = "choice";
  label.append("Rule: ", select);
  groups[0].before(label);
  const show = () => {
    groups.forEach((group, place) => {
      group.style.display = place === select.selectedIndex ? "" : "none";
      group.querySelector("h3").style.display = "none";
    });
  };
  select.addEventListener("change", show);
  show();
}
