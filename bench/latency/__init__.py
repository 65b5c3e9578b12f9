"""How long text takes."""
