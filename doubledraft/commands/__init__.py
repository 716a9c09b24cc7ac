"""The subcommands of the command line, a module each; `doubledraft.cli` lists them."""
