// The page asks its own service, and nothing else; what it shows is written as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const FIELDS = { // of each task: the name of an entry of the inputs ("" for the inputs themselves), and its label
  "question-answering": [["context", "Context"], ["question", "Question"]],
  "fill-mask": [["", "Text with a gap"]],
  "image-classification": [["", "Picture"]],
};
const STEPS = { temperature: "0.1" }; // the parameters that are not whole numbers
const SWITCHES = { do_sample: false, handle_impossible_answer: false, normalize: true }; // those that are on or off
const CHOICES = { // the parameters that are words
  aggregation_strategy: ["first", "simple", "average", "max", "none"],
  pooling: ["mean", "cls", "max"],
};
let about; // what /health says

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function fields() {
  for (const [name, label] of FIELDS[about.task] ?? [["", "Text"]]) {
    if (about.task === "image-classification") {
      const input = element("input", { type: "file", accept: "image/*", name, required: true });
      const preview = element("img", { alt: "", hidden: true });
      input.addEventListener("change", async () => {
        preview.src = input.files.length ? await dataUrl(input.files[0]) : "data:,";
        preview.hidden = !input.files.length;
      });
      byId("fields").append(element("label", {}, label, input), preview);
    } else {
      const value = name ? about.sample[name] : about.sample;
      const input = element("textarea", { name, value, required: true, maxLength: about.limits.max_text_length });
      byId("fields").append(element("label", {}, label, input));
    }
  }
  byId("fields").querySelector("textarea, input").focus();
}

function parameters() {
  for (const name of about.parameters) {
    const title = name.replaceAll("_", " ");
    if (name in SWITCHES) {
      const input = element("input", { type: "checkbox", name, checked: SWITCHES[name] });
      byId("parameters").append(element("label", {}, input, title));
    } else if (name in CHOICES) {
      const choices = CHOICES[name].map((value) => element("option", { value }, value));
      byId("parameters").append(element("label", {}, title, element("select", { name }, ...choices)));
    } else {
      const value = name === "top_k" ? "5" : "";
      const input = element("input", { type: "number", name, value, min: "0", step: STEPS[name] ?? "1" });
      byId("parameters").append(element("label", {}, title, input));
    }
  }
  byId("options").hidden = !about.parameters.length;
}

function dataUrl(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
}

async function asked() {
  const given = {};
  for (const input of byId("fields").querySelectorAll("textarea, input")) {
    given[input.name] = input.type === "file" ? await dataUrl(input.files[0]) : input.value;
  }
  const options = {};
  for (const input of byId("parameters").querySelectorAll("input, select")) {
    const value = { checkbox: input.checked, number: input.valueAsNumber }[input.type] ?? input.value;
    if (!Number.isNaN(value)) options[input.name] = value;
  }
  return { inputs: "" in given ? given[""] : given, parameters: options };
}

function scored(rows) { // labels, or fillings, with their scores as bars
  const list = element("ol");
  for (const row of rows) {
    const isShare = row.score >= 0 && row.score <= 1;
    const told = isShare ? `${(100 * row.score).toFixed(1)} %` : row.score.toPrecision(6);
    const bar = element("div", { className: "bar" });
    bar.style.width = isShare ? `${100 * row.score}%` : "0";
    list.append(element("li", {}, bar, element("span", {}, row.sequence ?? row.label ?? row.answer), element("span", {}, told)));
  }
  return list;
}

function marked(text, spans) { // a text with some of its parts marked; Python counts characters, not UTF-16 units
  const characters = Array.from(text), shown = element("p", { className: "text" });
  let at = 0;
  for (const span of spans) {
    if (span.start < at) continue;
    shown.append(characters.slice(at, span.start).join(""));
    const mark = element("mark", {}, characters.slice(span.start, span.end).join(""));
    const name = span.entity_group ?? span.entity;
    if (name) mark.append(element("small", {}, name));
    shown.append(mark);
    at = span.end;
  }
  shown.append(characters.slice(at).join(""));
  return shown;
}

function shown(question, answer) {
  const rows = Array.isArray(answer) ? answer : [answer];
  if (about.task === "token-classification") {
    const count = rows.length ? `${rows.length} found` : "Nothing was found.";
    return [marked(question.inputs, rows), element("p", { className: "hint" }, count)];
  }
  if (about.task === "question-answering") {
    return [scored(rows.map((row) => ({ ...row, answer: row.answer || "no answer" }))), marked(question.inputs.context, rows.slice(0, 1))];
  }
  if (rows.every((row) => row && row.generated_text !== undefined)) {
    return rows.map((row) => element("p", { className: "text" }, row.generated_text));
  }
  if (rows.every((row) => Array.isArray(row) && row.length && row[0].score !== undefined)) return rows.map(scored);
  if (rows.every((row) => row && row.score !== undefined)) return [scored(rows)];
  return [element("pre", { tabIndex: 0 }, JSON.stringify(answer, null, 1))];
}

function tell(question, answer) {
  const json = JSON.stringify(question);
  const body = json.length > 2000 ? "@request.json" : `'${json.replaceAll("'", "'\\''")}'`;
  byId("command").textContent = `curl --json ${body} ${new URL(about.task, location.href)}`;
  byId("response").textContent = JSON.stringify(answer, null, 1);
}

async function ask(event) {
  event.preventDefault();
  const button = byId("ask").querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  byId("answer").setAttribute("aria-busy", "true");
  try {
    const question = await asked(), start = performance.now();
    const response = await fetch(about.task, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
    });
    const answer = await response.json(), took = Math.round(performance.now() - start);
    tell(question, answer);
    if (!response.ok) throw new Error(answer.error);
    byId("answer").replaceChildren(...shown(question, answer), element("p", { className: "hint" }, `${took} ms`));
  } catch (error) {
    byId("answer").replaceChildren(element("p", { className: "failed" }, error.message));
  } finally {
    button.disabled = false;
    byId("answer").removeAttribute("aria-busy");
  }
}

async function begin() {
  about = await (await fetch("health")).json();
  byId("task").textContent = about.task;
  byId("model").textContent = document.title = about.model;
  fields();
  parameters();
  byId("ask").addEventListener("submit", ask);
  byId("ask").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
  });
}

begin().catch((error) => byId("answer").replaceChildren(element("p", { className: "failed" }, `The service does not answer: ${error.message}`)));
