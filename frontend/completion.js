// Completion of the rules file, by its JSON Schema and by the names in the text.

/** Keys whose values are names that stand in the text, and under which key there. */
const NAMED = {
  send_to: "destinations", alerts_to: "destinations", fallback: "destinations", outside_hours: "destinations", destination: "destinations",
  hours: "schedules", within: "schedules", outside: "schedules", rule: "rules",
};
const KEY = /^("[^"]*"|'[^']*'|[^\s#'"[\]{},][^#{}[\],]*?)\s*:(?=\s|$)/;

function bare(key) {
  return /^["']/.test(key) ? key.slice(1, -1) : key;
}

/** Splits a line: spaces, dashes, key and what follows it. */
function pieces(line) {
  const [, spaces, dashes] = /^( *)((?:- +)*)/.exec(line);
  const rest = line.slice(spaces.length + dashes.length);
  const key = KEY.exec(rest);
  return { start: spaces.length, dashes: dashes.split("-").length - 1, keyAt: spaces.length + dashes.length, key: key && bare(key[1]), rest: key ? rest.slice(key[0].length) : rest };
}

/** The keys under which a column of a line stands, outermost first; "-" for an item of a list. */
function blockPath(lines, before, column, ofItem) {
  const path = [];
  for (let number = before - 1; number >= 0; number--) {
    const line = lines[number];
    if (!line.trim() || line.trim().startsWith("#")) continue;
    const { start, dashes, keyAt, key } = pieces(line);
    const isAbove = key !== null && (ofItem && !dashes ? keyAt <= column : keyAt < column);
    const isSibling = dashes > 0 && start < column && keyAt >= column && !ofItem;
    if (!isAbove && !isSibling) continue;
    if (isAbove) path.push(key);
    [column, ofItem] = [keyAt, false];
    if (dashes) {
      path.push(...Array(dashes).fill("-"));
      [column, ofItem] = [start, true];
    }
  }
  return path.reverse();
}

/** Where the end of a text stands: the keys above it, whether a key or a value may stand there, and what is begun of it. */
export function placeIn(text) {
  const lines = text.split("\n");
  const line = lines.pop();
  const { start, dashes, keyAt, key, rest } = pieces(line);
  const path = blockPath(lines, lines.length, dashes ? start : keyAt, dashes > 0);
  path.push(...Array(dashes).fill("-"));
  if (key === null && !/^[[{]/.test(rest)) return { path, wants: "either", word: rest };
  if (key !== null) path.push(key);
  return inFlow(path, rest);
}

/** As `placeIn`, after the key of a line: `{...}` and `[...]` may be open there. */
function inFlow(path, text) {
  const open = [];
  let place = { path, wants: "value", word: "" };
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (sign === "{" || sign === "[") {
      const within = sign === "{" ? place.path : [...place.path, "-"];
      open.push({ outer: place, inner: { path: within, wants: sign === "{" ? "key" : "value", word: "" } });
      place = { ...open.at(-1).inner };
    } else if (sign === "}" || sign === "]") {
      place = { ...(open.pop()?.outer ?? place), word: "" };
    } else if (sign === "," && open.length) {
      place = { ...open.at(-1).inner };
    } else if (sign === ":" && place.wants === "key" && /\s|$/.test(text[at + 1] ?? "")) {
      place = { path: [...place.path, bare(place.word.trim())], wants: "value", word: "" };
    } else if (place.word || sign.trim()) {
      place.word += sign;
    }
  }
  return place;
}

/** A schema and all that its references and alternatives lead to. */
function* expanded(schema, root) {
  if (typeof schema !== "object") return;
  yield schema;
  if (schema.$ref) yield* expanded(root.definitions[schema.$ref.split("/").at(-1)], root);
  for (const each of [...(schema.anyOf ?? []), ...(schema.allOf ?? [])]) yield* expanded(each, root);
}

function* below(schemas, step, root) {
  for (const schema of schemas) {
    if (step === "-") {
      if (schema.items) yield* expanded(schema.items, root);
    } else if (schema.properties?.[step]) {
      yield* expanded(schema.properties[step], root);
    } else {
      const pattern = Object.keys(schema.patternProperties ?? {}).find((each) => new RegExp(each).test(step));
      if (pattern) yield* expanded(schema.patternProperties[pattern], root);
      else if (schema.additionalProperties) yield* expanded(schema.additionalProperties, root);
    }
  }
}

/** The names that stand under a key of the first column. */
export function namesUnder(section, text) {
  const found = [];
  let column = null;
  let is = false;
  for (const line of text.split("\n")) {
    if (/^\S/.test(line) && !/^[#-]/.test(line)) [is, column] = [line.startsWith(`${section}:`), null];
    if (!is || !line.trim() || line.trim().startsWith("#")) continue;
    const { keyAt, dashes, key, rest } = pieces(line);
    if (section === "rules") {
      const name = key === "name" && dashes ? rest : /^[^#]*-\s*\{\s*name:\s*([^,}]+)/.exec(line)?.[1];
      if (name?.trim()) found.push(bare(name.trim()));
    } else if (key !== null && keyAt > 0 && !dashes) {
      column ??= keyAt;
      if (keyAt === column) found.push(key);
    }
  }
  return found;
}

/** What may stand at the end of `before`, in the text `whole`. */
export function optionsFor(root, before, whole) {
  const place = placeIn(before);
  let schemas = [...expanded(root, root)];
  for (const step of place.path) schemas = [...below(schemas, step, root)];
  const options = new Map();
  if (place.wants !== "value") {
    for (const schema of schemas) {
      for (const [name, each] of Object.entries(schema.properties ?? {})) {
        const info = [...expanded(each, root)].find((one) => one.description)?.description;
        options.set(name, { label: name, type: "property", info, apply: `${name}: ` });
      }
    }
  }
  if (place.wants !== "key") {
    for (const schema of schemas) {
      for (const value of [...(schema.enum ?? []), ...("const" in schema ? [schema.const] : [])]) {
        if (value !== "yes" && value !== "no") options.set(String(value), { label: String(value), type: "enum" });
      }
    }
    const key = place.path.filter((step) => step !== "-").at(-1);
    const isHours = key === "hours" && place.path[0] === "schedules";
    if (key in NAMED && !isHours) {
      for (const name of namesUnder(NAMED[key], whole)) options.set(name, { label: name, type: "variable" });
      if (key === "send_to") options.set("nobody", { label: "nobody", type: "enum" });
    }
  }
  return { word: place.word, options: [...options.values()] };
}

async function fetched(address) {
  try {
    const answer = await fetch(address);
    // Who has been signed out is led to another page.
    return answer.ok && !answer.redirected ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** A source of completions by the schema at an address, which is fetched before it is wanted. */
export function completeBySchema(address) {
  let schema = fetched(address);
  return async (context) => {
    const root = (await schema) ?? (await (schema = fetched(address)));
    if (root === null) return null;
    const whole = context.state.doc.toString();
    const { word, options } = optionsFor(root, whole.slice(0, context.pos), whole);
    if (!options.length || (!word && !context.explicit && !/[\s[{]$/.test(whole.slice(0, context.pos)))) return null;
    if (!word && !context.explicit && /\n\s*$/.test(whole.slice(0, context.pos))) return null;
    // Who has typed all of it wants no list: Enter begins a line then.
    const isWhole = (text) => options.some((each) => each.label === text) && !options.some((each) => each.label !== text && each.label.startsWith(text));
    if (isWhole(word) && !context.explicit) return null;
    return { from: context.pos - word.length, options, validFor: (text) => /^[\w.-]*$/.test(text) && !isWhole(text) };
  };
}
