LAYOUTS: dict[str, object] = {"grid": None}
