package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile takes the values of flags from the file that --config names: YAML,
// and so JSON too, with the flags' names as keys.
//
//	listen: 0.0.0.0:443
//	tls-cert: /etc/slipway/tls.crt
//	max-blob-size: 20GiB
//
// The command line comes first, then the environment, then the file, then the
// default.
type configFile struct {
	values map[string]string
}

var _ kong.Resolver = (*configFile)(nil)

// Validate has nothing to say before the command is known.
func (c *configFile) Validate(*kong.Application) error { return nil }

// load reads the file that the command is told to take, before any flag is
// resolved: kong puts the name of the flag that it asks for before what Resolve
// returns as an error.
func (c *configFile) load(ctx *kong.Context, path *kong.Path) error {
	if path.Command == nil {
		return nil
	}
	name := configPath(ctx, path)
	if name == "" {
		return nil
	}
	values, err := readConfig(name, knownFlags(ctx.Model.Node))
	if err != nil {
		return err
	}
	c.values = values
	return nil
}

// Resolve returns the file's value of the flag, or nil.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Name == "config" || len(flag.Envs) == 0 {
		return nil, nil
	}
	// Kong asks resolvers about all flags that are not on the command line,
	// those from the environment included.
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	if v, ok := c.values[flag.Name]; ok {
		return v, nil
	}
	return nil, nil
}

// configPath is the value of the command's --config, from the command line or
// the environment.
func configPath(ctx *kong.Context, parent *kong.Path) string {
	for _, f := range parent.Flags {
		if f.Name == "config" {
			path, _ := ctx.FlagValue(f).(string)
			return path
		}
	}
	return ""
}

// knownFlags are the names that may be in the file: the flags of all commands
// that take one. Several commands share a file, each takes what it knows.
func knownFlags(root *kong.Node) map[string]bool {
	names := make(map[string]bool)
	for _, command := range root.Children {
		takesFile := slices.ContainsFunc(command.Flags, func(f *kong.Flag) bool { return f.Name == "config" })
		for _, f := range command.Flags {
			if takesFile && f.Name != "config" && len(f.Envs) > 0 {
				names[f.Name] = true
			}
		}
	}
	return names
}

// readConfig reads the file. A key that is no flag is an error: a misspelt
// limit that is silently ignored is no limit.
func readConfig(path string, known map[string]bool) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config file: %w", err)
	}
	nodes := make(map[string]yaml.Node)
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read config file %s: %w", path, err)
	}
	values := make(map[string]string, len(nodes))
	for key, node := range nodes {
		name := strings.ReplaceAll(key, "_", "-")
		if !known[name] {
			return nil, fmt.Errorf("config file %s: there is no flag --%s; `slipway serve --help` lists them all", path, name)
		}
		if node.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("config file %s: line %d: the value of %q is not one value", path, node.Line, key)
		}
		// The text as it stands in the file: 24h and 10GiB are the flags' own.
		values[name] = node.Value
	}
	return values, nil
}
