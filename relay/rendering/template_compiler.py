"""Compiles templates to faster Python than Jinja's own code generator does.

A value is written by one call, a mapping's key is read in place, and translations are looked up and
split when the template is compiled. All other operations keep Jinja's code and the checks of
`Sandbox`.
"""

from typing import Any, TypeGuard

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from markupsafe import escape

from relay.languages.catalogue import PLACE


def _is_translation(node: nodes.Expr) -> TypeGuard[nodes.Call]:
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "_"
        and not (node.args[1:] or node.dyn_args or node.dyn_kwargs)
    )


class SandboxCodeGenerator(CodeGenerator):
    """Generates code that writes values with the sandbox's `put` and translates texts to the sandbox's language."""

    def write_commons(self) -> None:
        super().write_commons()
        self.writeline("put = environment.put")
        self.writeline("call = environment.call")

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:  # noqa: ANN401, ARG002 - Jinja's own signature
        const = node.as_const(frame.eval_ctx)
        if isinstance(node, nodes.TemplateData):
            return str(const)
        return str(self.environment.put(const))  # type: ignore[attr-defined]

    def _output_child_pre(self, *_: Any) -> None:  # noqa: ANN401
        self.write("put(")

    def _output_child_post(self, *_: Any) -> None:  # noqa: ANN401
        self.write(")")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 - Jinja's naming
        key = repr(node.attr)
        self.write(f"(_of[{key}] if type(_of := ")
        self.visit(node.node, frame)
        self.write(f") is dict and {key} in _of else environment.getattr(_of, {key}))")

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802
        node.nodes = [
            piece for child in node.nodes for piece in self._pieces(child, frame) or [child]
        ]
        super().visit_Output(node, frame)

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: FBT001, FBT002, N802
        if not forward_caller and (pieces := self._pieces(node, frame)):
            self.write(
                "environment.markup(concat([" if frame.eval_ctx.autoescape else "str(concat(["
            )
            for piece in pieces:
                if isinstance(piece, nodes.TemplateData):
                    self.write(f"{piece.data!r}, ")
                else:
                    self.write("put(")
                    self.visit(piece, frame)
                    self.write("), ")
            self.write("]))")
            return
        # Jinja also passes the names of the loop and block, for
        # functions that need the context; no function here does.
        self.write("call(context, ")
        self.visit(node.node, frame)
        self.signature(node, frame, {"caller": "caller"} if forward_caller else None)
        self.write(")")

    def _pieces(self, node: nodes.Expr, frame: Frame) -> list[nodes.Expr] | None:
        """Split `_("{who} left", who=visitor.called)` into its values and the translated text around them.

        None for any other expression, or if a value occurs twice or not at all: `_` then handles it
        at run time.
        """
        if not _is_translation(node):
            return None
        values = {each.key: each.value for each in node.kwargs}
        language = self.environment.language  # type: ignore[attr-defined]
        pieces = PLACE.split(language.gettext(node.args[0].as_const()))  # text, a name, text, ...
        names = [name for name in pieces[1::2] if name in values]
        if sorted(names) != sorted(each.key for each in node.kwargs):
            return None
        if frame.eval_ctx.autoescape:
            pieces[::2] = map(str, map(escape, pieces[::2]))
        return [
            values.get(piece) or nodes.TemplateData(f"{{{piece}}}")
            if at % 2
            else nodes.TemplateData(piece)
            for at, piece in enumerate(pieces)
        ]
