package main

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// kind is a registry this driver knows how to start, and what it promises about a write that it has answered.
type kind struct {
	name       string
	durable    bool // an acknowledged push survives a power cut
	durability string
	settings   string
	command    func(p *peer, dir string, port int) (args, env []string, err error)
}

// peer is one registry in this run.
type peer struct {
	name    string
	kind    kind
	path    string
	extra   []string // further arguments
	version string
	maxRSS  int64 // bytes, the highest seen
}

func (p *peer) label() string {
	if p.version == "" {
		return p.name
	}
	return p.name + " " + p.version
}

// kinds are the peers known. What stands under durability was read in the source of the version that is named in it.
var kinds = map[string]kind{
	"slipway": {
		name:       "slipway",
		durable:    true,
		durability: "durable: fsync of the blob's file and directory, and a bbolt commit with fsync (shared by concurrent writers), before 201",
		settings:   "defaults, access log off",
		command: func(p *peer, dir string, port int) ([]string, []string, error) {
			return append([]string{"serve", "--listen", loopback(port), "--data", dir, "--log-level", "error"}, p.extra...), nil, nil
		},
	},
	"distribution": {
		name:    "distribution",
		durable: true,
		durability: "durable in effect (v3.1.2): fsync of the upload at PUT and of every link file and its directory; the rename of " +
			"the blob into place is not synced itself, the next link's directory sync carries it on a journalling file system",
		settings: "filesystem driver, in-memory blob descriptor cache, delete enabled, logs and tracing off",
		command:  distributionCommand,
	},
	"olareg": {
		name:       "olareg",
		durability: "not durable (v0.1.2): no fsync anywhere; index.json of a repository is written anew on every push",
		settings:   "dir store, deletes enabled",
		command: func(p *peer, dir string, port int) ([]string, []string, error) {
			return append([]string{"serve", "--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir,
				"--api-delete", "--api-blob-delete", "--verbosity", "error"}, p.extra...), nil, nil
		},
	},
	"zot": {
		name:    "zot",
		durable: true,
		durability: "files fsynced on close because this driver sets storage.commit (off by default); directories are synced or not " +
			"depending on the version",
		settings: "local storage, commit, dedupe as by default, no extensions, log off",
		command:  zotCommand,
	},
	"bare": {
		name:       "bare",
		durability: "no registry: files and a fixed answer",
		settings:   "http.ServeFile and a manifest from memory: the ceiling of this driver on this machine",
		command: func(_ *peer, dir string, port int) ([]string, []string, error) {
			return []string{bareCommand, loopback(port), dir}, nil, nil
		},
	},
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// newPeer makes a peer of the kind its name begins with: "slipway-old" is a slipway.
func newPeer(name, path string, extra []string) (*peer, error) {
	base, _, _ := strings.Cut(name, "-")
	k, ok := kinds[base]
	if !ok || base == "bare" {
		return nil, fmt.Errorf("peer %q: this driver can start slipway, distribution, olareg and zot (a suffix may follow a dash)", name)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", name, err)
	}
	if info, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("peer %s: %w", name, err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("peer %s: %s is a directory", name, abs)
	}
	version := binaryVersion(abs)
	if base == "slipway" {
		version = ownVersion(abs)
	}
	return &peer{name: name, kind: k, path: abs, extra: extra, version: version}, nil
}

// newBarePeer makes the bare file server: this very program, started as a process of its own.
func newBarePeer() (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return &peer{name: "bare net/http", kind: kinds["bare"], path: self}, nil
}

// binaryVersion reads the version that the Go toolchain wrote into a binary.
func binaryVersion(path string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	// A main package built from another module carries its version among the dependencies.
	version := info.Main.Version
	if !strings.HasPrefix(info.Path, info.Main.Path) {
		for _, d := range info.Deps {
			if strings.HasPrefix(info.Path, d.Path+"/") {
				version = d.Version
			}
		}
	}
	if version != "" && version != "(devel)" {
		return version
	}
	return "devel"
}

// ownVersion asks a slipway, whose version the Makefile stamps.
func ownVersion(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if f := strings.Fields(string(out)); err == nil && len(f) > 1 {
		return f[1]
	}
	return binaryVersion(path)
}

// distributionCommand writes the configuration that the project ships as its example, less log lines and authentication.
func distributionCommand(p *peer, dir string, port int) ([]string, []string, error) {
	const config = `version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: %q
  delete:
    enabled: true
  tag:
    concurrencylimit: 8
http:
  addr: %q
  secret: bench
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
`
	file := dir + ".yml"
	text := fmt.Sprintf(config, dir, loopback(port))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, nil, fmt.Errorf("write configuration: %w", err)
	}
	// Tracing would send spans to a collector that is not there.
	return append([]string{"serve", file}, p.extra...), []string{"OTEL_TRACES_EXPORTER=none"}, nil
}

func zotCommand(p *peer, dir string, port int) ([]string, []string, error) {
	raw, err := json.MarshalIndent(map[string]any{
		"distSpecVersion": "1.1.1",
		"storage":         map[string]any{"rootDirectory": dir, "commit": true},
		"http":            map[string]any{"address": "127.0.0.1", "port": strconv.Itoa(port)},
		"log":             map[string]any{"level": "error"},
	}, "", "  ")
	if err != nil {
		return nil, nil, fmt.Errorf("write configuration: %w", err)
	}
	file := dir + ".json"
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, nil, fmt.Errorf("write configuration: %w", err)
	}
	return append([]string{"serve", file}, p.extra...), nil, nil
}
