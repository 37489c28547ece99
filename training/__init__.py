"""Knowledge distillation from teachers and rulings to a small student; needs no app and no database."""
