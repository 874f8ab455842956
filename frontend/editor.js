// The editor over a text area: CodeMirror in a shadow root, where its styles need no exception of the pages' policy.
// The text area stays the form's field: it holds the text at all times, and tells of each change by the event "input".
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, StreamLanguage, bracketMatching, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

import { completeBySchema } from "./completion.js";
import { jinja } from "./jinja.js";

const PHONE = "(max-width: 640px)"; // there the keyboard of the system does better with a text area

const look = EditorView.theme({
  "&": {
    color: "var(--ink)", backgroundColor: "var(--paper)", border: "1px solid #8b93a3", borderRadius: "8px",
    minHeight: "22em", maxHeight: "72vh", fontSize: ".8125rem", overflow: "hidden",
  },
  "&.cm-focused": { outline: "3px solid var(--focus)", outlineOffset: "1px" },
  ".cm-scroller": { overflow: "auto", fontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace", lineHeight: "1.6" },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-content, .cm-gutter": { minHeight: "22em" },
  ".cm-cursor": { borderLeftColor: "var(--ink)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "var(--sunk)", color: "var(--quiet)", borderRight: "1px solid var(--rule)" },
  ".cm-activeLine": { backgroundColor: "transparent", boxShadow: "inset 0 0 0 1px var(--rule)" },
  ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--ink)", fontWeight: "700" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--agent)" },
  ".cm-selectionMatch": { backgroundColor: "var(--neutral-paper)" },
  ".cm-searchMatch": { backgroundColor: "var(--warn-paper)", outline: "1px solid var(--warn-bar)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--good-paper)" },
  ".cm-nonmatchingBracket, &.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--bad-paper)" },
  ".cm-panels": { backgroundColor: "var(--sunk)", color: "var(--ink)", borderColor: "var(--rule)" },
  ".cm-textfield": { backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid #8b93a3", fontSize: ".875rem", padding: "6px 8px" },
  ".cm-button": { backgroundImage: "none", backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--rule)", fontSize: ".875rem", padding: "6px 10px" },
  ".cm-panel label": { fontSize: ".875rem" },
  ".cm-tooltip": { backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--rule)", borderRadius: "8px", maxWidth: "34em" },
  ".cm-tooltip-autocomplete > ul > li": { padding: "4px 8px" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--act)", color: "var(--act-ink)" },
  ".cm-completionInfo": { padding: "8px 12px", fontFamily: "inherit" },
  ".cm-diagnostic": { padding: "8px 12px", fontSize: ".875rem", borderLeftWidth: "4px" },
  ".cm-diagnosticAction": { backgroundColor: "var(--act)", color: "var(--act-ink)", fontSize: ".875rem", padding: "4px 10px", borderRadius: "6px" },
});

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName), tags.tagName], color: "var(--neutral)", fontWeight: "600" },
  { tag: [tags.comment, tags.lineComment], color: "var(--quiet)", fontStyle: "italic" },
  { tag: [tags.string, tags.attributeValue], color: "var(--good)" },
  { tag: [tags.bool, tags.number, tags.keyword, tags.atom, tags.null], color: "var(--warn)" },
  { tag: [tags.punctuation, tags.bracket, tags.separator], color: "var(--quiet)" },
  { tag: [tags.variableName, tags.labelName], color: "var(--link)" },
]);

/** What is the same for a text area and for the editor over it. Lines and columns count from 1, columns in characters. */
class Field {
  constructor(area) {
    this.area = area;
    this.view = null;
  }

  get text() {
    return this.area.value;
  }

  offset(line, column) {
    const lines = this.text.split("\n");
    const before = lines.slice(0, Math.max(0, line - 1)).reduce((sum, each) => sum + each.length + 1, 0);
    const within = [...(lines[line - 1] ?? "")].slice(0, Math.max(0, column - 1)).join("").length;
    return Math.min(before + within, this.text.length);
  }

  goTo(line, column) {
    const at = this.offset(line, column);
    if (this.view) {
      this.view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
      this.view.focus();
    } else {
      this.area.focus();
      this.area.setSelectionRange(at, at);
    }
  }

  replace(from, to, text) {
    if (this.view) {
      this.view.dispatch({ changes: { from, to, insert: text }, selection: { anchor: from + text.length }, userEvent: "input.complete" });
      this.view.focus();
    } else {
      this.area.setRangeText(text, from, to, "end");
      this.area.dispatchEvent(new Event("input", { bubbles: true }));
      this.area.focus();
    }
  }

  /** Marks what stands in a list of problems that the server has made. */
  mark(list) {
    if (!this.view) return;
    const length = this.view.state.doc.length;
    const found = [...list.querySelectorAll("[data-severity][data-line]")].map((each) => {
      const { line, column, length: characters, severity } = each.dataset;
      const from = Math.min(this.offset(+line, +column), length);
      const end = this.view.state.doc.lineAt(from).to;
      const to = +column ? Math.min(this.offset(+line, +column + Math.max(1, +characters)), end) : end;
      const actions = [...each.querySelectorAll("button[data-text]")].map((button) => ({ name: button.textContent, apply: () => button.click() }));
      return { from, to: Math.max(from, to), severity, message: each.querySelector("[data-words]").textContent, actions };
    });
    this.view.dispatch(setDiagnostics(this.view.state, found.sort((one, other) => one.from - other.from)));
  }
}

/** Typed over a selection: the browser itself would keep the look of what stood there by styles that the policy forbids. */
function typeOver(event, view) {
  const { ranges, main } = view.state.selection;
  if (event.inputType !== "insertText" || !event.data || event.isComposing || ranges.length > 1 || main.empty || view.state.readOnly) return false;
  const { from, to } = main;
  const insert = () => view.state.update({
    changes: { from, to, insert: event.data }, selection: { anchor: from + event.data.length }, userEvent: "input.type", scrollIntoView: true,
  });
  event.preventDefault();
  if (!view.state.facet(EditorView.inputHandler).some((each) => each(view, from, to, event.data, insert))) view.dispatch(insert());
  return true;
}

function mount(field) {
  const { area } = field;
  const words = JSON.parse(area.dataset.phrases || "{}");
  const label = document.querySelector(`label[for="${area.id}"]`);
  const hint = document.getElementById(`${area.id}-hint`);
  const language = area.dataset.editor === "yaml" ? yaml() : StreamLanguage.define(jinja);
  const keep = () => {
    area.dispatchEvent(new Event("keep", { bubbles: true }));
    return true;
  };
  const host = document.createElement("div");
  host.className = "editor";
  area.after(host);
  const root = host.attachShadow({ mode: "open" });
  field.view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        lineNumbers(), highlightActiveLineGutter(), highlightActiveLine(), history(), drawSelection(), indentOnInput(), bracketMatching(),
        closeBrackets(), highlightSelectionMatches(), search({ top: true }), lintGutter(),
        autocompletion({ interactionDelay: 0, override: area.dataset.schema ? [completeBySchema(area.dataset.schema)] : undefined }),
        keymap.of([{ key: "Mod-s", run: keep, preventDefault: true }, ...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...lintKeymap, indentWithTab]),
        language, syntaxHighlighting(colours), look, EditorView.lineWrapping,
        EditorState.readOnly.of(area.readOnly), EditorState.phrases.of(words),
        EditorView.contentAttributes.of({
          "aria-label": label?.textContent.trim() ?? "", "aria-description": hint?.textContent.trim() ?? "", spellcheck: "false", autocapitalize: "off",
        }),
        EditorView.domEventHandlers({ beforeinput: typeOver }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          area.value = update.state.doc.toString();
          area.dispatchEvent(new Event("input", { bubbles: true }));
        }),
      ],
    }),
  });
  area.hidden = true;
  if (hint) hint.hidden = false;
  label?.addEventListener("click", () => field.view.focus());
}

const fields = new Map();
for (const area of document.querySelectorAll("textarea[data-editor]")) {
  const field = new Field(area);
  fields.set(area.id, field);
  if (!matchMedia(PHONE).matches) mount(field);
}

/** Marks problems in the editors, and lets nobody publish what has errors. */
function takeUp() {
  for (const list of document.querySelectorAll("[data-of]")) {
    fieldOf(list)?.mark(list);
    const errors = +(list.querySelector("[data-errors]")?.dataset.errors ?? 0);
    for (const button of document.querySelectorAll(`[data-publishes="${list.dataset.of}"]`)) button.disabled = errors > 0;
  }
}

function fieldOf(element) {
  return fields.get(element.closest("[data-of]")?.dataset.of);
}

takeUp();
document.addEventListener("htmx:afterSettle", takeUp);
document.addEventListener("click", (event) => {
  const field = event.target.closest("[data-of]") && fieldOf(event.target);
  const problem = event.target.closest("[data-line]");
  if (!field || !problem) return;
  const { line, column } = problem.dataset;
  const button = event.target.closest("button[data-text]");
  if (button) {
    const from = field.offset(+line, +button.dataset.column);
    field.replace(from, field.offset(+line, +button.dataset.column + +button.dataset.length), button.dataset.text);
  } else if (event.target.closest("a")) {
    event.preventDefault();
    field.goTo(+line, +column);
  }
});

// Enter in a field beside the text means the button beside it, not the first one of the form.
document.addEventListener("keydown", (event) => {
  const button = event.key === "Enter" && event.target.matches("fieldset input") && event.target.closest("fieldset").querySelector("button");
  if (!button) return;
  event.preventDefault();
  button.click();
});

// Signed out while typing: the text is kept in this tab until its user is back on the page.
const KEPT = "relay.unsaved";
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status !== 401) return;
  for (const [id, field] of fields) {
    const at = field.view ? field.view.state.selection.main.head : field.area.selectionStart;
    sessionStorage.setItem(KEPT, JSON.stringify({ path: location.pathname, id, text: field.text, at }));
  }
});
const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
if (kept && kept.path === location.pathname && fields.has(kept.id)) {
  sessionStorage.removeItem(KEPT);
  const field = fields.get(kept.id);
  if (field.text !== kept.text) field.replace(0, field.text.length, kept.text);
  const before = kept.text.slice(0, kept.at).split("\n");
  field.goTo(before.length, [...before.at(-1)].length + 1);
}
