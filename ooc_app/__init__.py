"""The Gradio app and the command line around it: one module per tab, named by what the person does there."""
