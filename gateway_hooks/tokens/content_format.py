"""Whether a chat template walks over the parts of a message's content, or takes it as one string.

vLLM decides the same way (``--chat-template-content-format auto``): a template that loops over the content
of a message gets a list of parts, any other gets the parts' texts joined by line breaks. What counts as a
loop over content is a convention about names, not data flow; it is vLLM's, and repeated here on purpose.
"""

from collections.abc import Iterable, Iterator

from jinja2 import nodes

_CONTENT = "content"
_MESSAGES = "messages"


def wants_parts(template: nodes.Template) -> bool:
    """True for a list of parts, False for a string."""
    loops = list(template.find_all(nodes.For))
    if not all(isinstance(loop.target, nodes.Name) for loop in loops if _name(loop.iter)):
        return False
    messages = _message_names(template, loops)
    in_macros = dict(_macro_loops(template, messages))
    return any(_walks_content(loop, messages, in_macros.get(id(loop))) for loop in loops)


def _walks_content(loop: nodes.For, messages: set[str], content_parameters: set[str] | None) -> bool:
    """``content_parameters``: of the macro around the loop, those that get a content; None outside macros."""
    if _is_content_of(loop.iter, messages):
        return True
    if not isinstance(loop.iter, nodes.Name):
        return False
    return loop.iter.name in ({_CONTENT} if content_parameters is None else content_parameters)


def _message_names(template: nodes.Template, loops: Iterable[nodes.For]) -> set[str]:
    """The loop variables that hold one message."""
    lists = {_MESSAGES}
    assigned = [(_name(entry.target), _name(entry.node)) for entry in template.find_all(nodes.Assign)]
    for _ in assigned:
        lists |= {target for target, source in assigned if target is not None and source in lists}
    targets = (_name(loop.target) for loop in loops if _name(loop.iter) in lists)
    return {target for target in targets if target is not None}


def _macro_loops(template: nodes.Template, messages: set[str]) -> Iterator[tuple[int, set[str]]]:
    """The loops inside macros, each with the macro's parameters that somebody hands a message's content."""
    calls = list(template.find_all(nodes.Call))
    for macro in template.find_all(nodes.Macro):
        names = [argument.name for argument in macro.args]
        handed: set[str] = set()
        for call in calls:
            if _name(call.node) != macro.name:
                continue
            handed |= {
                name for name, value in zip(names, call.args, strict=False) if _is_content_of(value, messages)
            }
            handed |= {
                word.key for word in call.kwargs if word.key in names and _is_content_of(word.value, messages)
            }
        for loop in macro.find_all(nodes.For):
            yield id(loop), handed


def _bare(node: nodes.Node | None) -> nodes.Node | None:
    """Without filters, tests and slices around it."""
    while isinstance(node, nodes.Filter | nodes.Test) or (
        isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
    ):
        node = node.node
    return node


def _name(node: nodes.Node) -> str | None:
    bare = _bare(node)
    return bare.name if isinstance(bare, nodes.Name) else None


def _is_content_of(node: nodes.Node, messages: set[str]) -> bool:
    bare = _bare(node)
    if isinstance(bare, nodes.Getattr):
        key = bare.attr
    elif isinstance(bare, nodes.Getitem) and isinstance(bare.arg, nodes.Const):
        key = bare.arg.value
    else:
        return False
    return key == _CONTENT and isinstance(bare.node, nodes.Name) and bare.node.name in messages
