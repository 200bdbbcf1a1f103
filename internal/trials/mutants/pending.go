package main

// These lists are written in files of their own; this file goes when they arrive.
var (
	stagesMutants []mutant
	storesMutants []mutant
	bridgeMutants []mutant
)
