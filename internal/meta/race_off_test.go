//go:build !race

package meta

const underRace = false
