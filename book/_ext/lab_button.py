"""Add JupyterLab to the launch menu of a chapter: the reader's own server, as `make lab` starts it."""

LAB = "http://localhost:8888/lab/tree"


def add_lab_button(app, pagename, templatename, context, doctree):
    for menu in context.get("header_buttons", []):
        if menu.get("label") == "launch-buttons":
            menu["buttons"].append(
                {
                    "type": "link",
                    "text": "JupyterLab",
                    "tooltip": "Open in your own JupyterLab (start it with: make lab)",
                    "icon": "fas fa-flask",
                    "url": f"{LAB}/{pagename}.ipynb",
                }
            )


def setup(app):
    # The theme makes the menu in the same event, at its default priority of 500 and one at 501.
    app.connect("html-page-context", add_lab_button, priority=900)
    return {"parallel_read_safe": True}
