package main

// This list is written in a file of its own; this file goes when it arrives.
var bridgeMutants []mutant
