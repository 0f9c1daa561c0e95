package auth

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestParseUsers(t *testing.T) {
	// As `htpasswd -B` writes them: with $2y$, which is PHP's name for the same.
	h := strings.Replace(hash(t, "secret"), "$2a$", "$2y$", 1)
	u, err := parseUsers([]byte("# people\n\nalice:" + h + "\r\nbob:" + hash(t, "other") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		want           bool
	}{
		{"alice", "secret", true},
		{"bob", "other", true},
		{"alice", "other", false},
		{"alice", "", false},
		{"carol", "secret", false},
		{"", "", false},
	} {
		if got := u.check(c.user, c.password); got != c.want {
			t.Errorf("check(%q, %q) = %v, want %v", c.user, c.password, got, c.want)
		}
	}
}

func TestParseUsersRefuses(t *testing.T) {
	good := hash(t, "secret")
	for name, c := range map[string]struct{ file, want string }{
		"empty":     {"# nobody\n", "no users"},
		"plain":     {"alice:secret\n", "htpasswd -B"},
		"apache md": {"alice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n", "htpasswd -B"},
		"no colon":  {"alice\n", "line 1"},
		"no name":   {":" + good + "\n", "line 1"},
		"twice":     {"alice:" + good + "\nalice:" + good + "\n", "twice"},
		"cost":      {"alice:$2a$31$" + good[7:] + "\n", "cost 31"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseUsers([]byte(c.file))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells what is in the file: %v", err)
			}
		})
	}
}

// An unknown user must cost as much as the dearest known one.
func TestUnknownUserCostsTheSame(t *testing.T) {
	dear, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost+2)
	if err != nil {
		t.Fatal(err)
	}
	u, err := parseUsers([]byte("a:" + hash(t, "x") + "\nb:" + string(dear) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := bcrypt.Cost(u.nobody); err != nil || c != bcrypt.MinCost+2 {
		t.Errorf("cost of the hash for unknown users is %d, %v; want %d", c, err, bcrypt.MinCost+2)
	}
}
