package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// fingerprint stands for one user name and password together.
type fingerprint [sha256.Size]byte

// fingerprinter makes fingerprints with a key that lives and dies with the
// process: what the cache holds is worthless outside, even in a core dump
// without the key's page, and no two processes share it.
type fingerprinter struct{ key [32]byte }

func newFingerprinter() *fingerprinter {
	f := new(fingerprinter)
	rand.Read(f.key[:]) // never fails
	return f
}

func (f *fingerprinter) of(user, password string) fingerprint {
	mac := hmac.New(sha256.New, f.key[:])
	// The length first, so that no other split of the two is the same.
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(user)))
	mac.Write(n[:])
	mac.Write([]byte(user))
	mac.Write([]byte(password))
	var fp fingerprint
	mac.Sum(fp[:0])
	return fp
}

// successes remembers credentials that were found right, for a while, because
// bcrypt is slow on purpose and a push sends the same credential with every
// request. Wrong ones are not remembered: a flood of them would push the right
// ones out.
type successes struct {
	max int
	ttl time.Duration

	mu      sync.RWMutex
	expires map[fingerprint]time.Time
}

func newSuccesses(max int, ttl time.Duration) *successes {
	return &successes{max: max, ttl: ttl, expires: make(map[fingerprint]time.Time)}
}

// has reports whether the credential was right not long ago.
func (s *successes) has(fp fingerprint, now time.Time) bool {
	s.mu.RLock()
	until, ok := s.expires[fp]
	s.mu.RUnlock()
	return ok && now.Before(until)
}

// add remembers a credential.
func (s *successes) add(fp fingerprint, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.expires[fp]; !there && len(s.expires) >= s.max {
		s.makeRoom(now)
	}
	s.expires[fp] = now.Add(s.ttl)
}

// makeRoom drops what has expired, or else any one.
func (s *successes) makeRoom(now time.Time) {
	for fp, until := range s.expires {
		if !now.Before(until) {
			delete(s.expires, fp)
		}
	}
	for fp := range s.expires {
		if len(s.expires) < s.max {
			return
		}
		delete(s.expires, fp)
	}
}

func (s *successes) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.expires)
}
