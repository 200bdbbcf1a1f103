package mcpoauth

import "maps"

// FindingIDs are the IDs that findings can have, for the test that compares them with the documentation.
func FindingIDs() []string {
	var ids []string
	for id := range maps.Keys(findings()) {
		ids = append(ids, id)
	}
	return ids
}
