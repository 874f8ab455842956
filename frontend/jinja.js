// Colours for Jinja templates of text and HTML, without a parser of HTML.
export const jinja = {
  name: "jinja",
  startState: () => ({ within: "" }),
  token(stream, state) {
    if (state.within === "{#") {
      if (stream.skipTo("#}")) stream.match("#}") && (state.within = "");
      else stream.skipToEnd();
      return "comment";
    }
    if (state.within) {
      if (stream.match(state.within === "{{" ? /^-?}}/ : /^-?%}/)) {
        state.within = "";
        return "punctuation";
      }
      if (stream.eatSpace()) return null;
      if (stream.match(/^"[^"]*"?|^'[^']*'?/)) return "string";
      if (stream.match(/^\d+(\.\d+)?/)) return "number";
      if (stream.match(/^(if|elif|else|endif|for|endfor|in|not|and|or|is|set|endset|import|from|with|without|context|macro|endmacro|call|endcall|block|endblock|filter|endfilter)\b/)) return "keyword";
      if (stream.match(/^[A-Za-z_]\w*/)) return "variableName";
      stream.next();
      return "punctuation";
    }
    const begun = stream.match(/^{{-?|^{%-?|^{#/);
    if (begun) {
      state.within = begun[0].slice(0, 2);
      return state.within === "{#" ? "comment" : "punctuation";
    }
    if (stream.match(/^<\/?[A-Za-z][\w-]*|^\/?>/)) return "tagName";
    stream.next();
    stream.eatWhile(/[^{<>\/]/);
    return null;
  },
};
