package auth

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// The bounds of what an htpasswd file may hold. They keep a mistaken path (a
// log, an image) from being read into memory, and a mistaken cost from making
// one login take minutes.
const (
	maxFileBytes = 1 << 20
	maxCost      = 17
)

// users is the content of an htpasswd file at one moment.
type users struct {
	hashes map[string][]byte
	// nobody is a hash that no password has. It is compared with where the
	// user is unknown, so that an unknown name takes as long as a wrong
	// password and names cannot be found out by the clock.
	nobody []byte

	modified time.Time
	size     int64
}

// readUsers reads an htpasswd file of bcrypt entries (`htpasswd -B`).
func readUsers(path string) (*users, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("auth: read htpasswd file: %w", err)
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("auth: htpasswd file %s has %d bytes, want at most %d: is it the right file?",
			path, info.Size(), maxFileBytes)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("auth: read htpasswd file: %w", err)
	}
	u, err := parseUsers(raw)
	if err != nil {
		return nil, fmt.Errorf("auth: htpasswd file %s: %w", path, err)
	}
	u.modified, u.size = info.ModTime(), info.Size()
	return u, nil
}

// parseUsers reads lines of user:hash. Empty lines and lines that begin with #
// are skipped; anything else that is not a bcrypt entry is an error, because an
// entry that is silently ignored is a user who cannot log in and nobody knows
// why.
func parseUsers(raw []byte) (*users, error) {
	u := &users{hashes: make(map[string][]byte)}
	cost := bcrypt.MinCost
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// The line itself never goes into an error: it may hold a password.
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" || len(name) > maxUserBytes {
			return nil, fmt.Errorf("line %d is not of the form user:hash", n)
		}
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil || !strings.HasPrefix(hash, "$2") {
			return nil, fmt.Errorf("line %d: the hash of %q is not bcrypt: make it with `htpasswd -B`", n, name)
		}
		if c > maxCost {
			return nil, fmt.Errorf("line %d: the hash of %q has cost %d, which makes each login take many seconds: use %d at most (10 is usual)",
				n, name, c, maxCost)
		}
		if _, twice := u.hashes[name]; twice {
			return nil, fmt.Errorf("line %d: user %q is there twice", n, name)
		}
		u.hashes[name] = []byte(hash)
		cost = max(cost, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(u.hashes) == 0 {
		return nil, errors.New("no users in it: add one with `htpasswd -B FILE USER`")
	}
	nobody, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return nil, err
	}
	u.nobody = nobody
	return u, nil
}

// check reports whether the password is the user's.
func (u *users) check(user, password string) bool {
	hash, known := u.hashes[user]
	if !known {
		hash = u.nobody
	}
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && known
}
