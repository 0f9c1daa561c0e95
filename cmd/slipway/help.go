package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command to explain."`
}

// Run prints what --help prints after the command.
func (c *helpCommand) Run(o output) error {
	if code := run(append(c.Command, "--help"), o.out, o.err); code != 0 {
		return exitCode(code) // the reason has been printed
	}
	return nil
}

// describe is the help text of a flag: what it is for, its default, and the
// environment variable that sets it.
func describe(v *kong.Value) string {
	text := v.Help
	var notes []string
	if v.HasDefault && v.Default != "" {
		notes = append(notes, "default "+v.Default)
	} else if v.IsBool() && len(v.Tag.Envs) > 0 {
		notes = append(notes, "default false")
	} else if len(v.Tag.Envs) > 0 {
		notes = append(notes, "no default")
	}
	for _, env := range v.Tag.Envs {
		notes = append(notes, "$"+env)
	}
	if len(notes) == 0 {
		return text
	}
	return fmt.Sprintf("%s [%s]", text, strings.Join(notes, ", "))
}
