//go:build race

package registry

// underRace: the race detector multiplies the time of every life, and finds
// little in one that has one request at a time.
const underRace = true
