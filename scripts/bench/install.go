package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	distributionVersion = "v3.1.2"
	distributionPackage = "github.com/distribution/distribution/v3/cmd/registry"
)

// cacheDir is where the peers that this driver builds and, by default, its data directories live. Not the system's
// temporary directory, which is in memory on many machines, and a benchmark of durable writes needs the disk.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	dir := filepath.Join(base, "slipway-bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	return dir, nil
}

// installDistribution builds the reference registry from its Go module, once; it takes minutes on a small machine.
func installDistribution(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	target := filepath.Join(cache, "distribution-"+distributionVersion)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	fmt.Fprintf(os.Stderr, "building %s@%s into %s (once)\n", distributionPackage, distributionVersion, cache)
	tmp, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", fmt.Errorf("build distribution: %w", err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "go", "install", distributionPackage+"@"+distributionVersion)
	cmd.Dir = tmp // outside our module, whose settings are no concern of it
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build distribution %s: %w (or give --peer distribution=/path/to/registry)", distributionVersion, err)
	}
	if err := os.Rename(filepath.Join(tmp, "registry"), target); err != nil {
		return "", fmt.Errorf("build distribution: %w", err)
	}
	return target, nil
}
