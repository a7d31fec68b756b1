package plugintest

// OwnSentences are those of single findings, for the test that looks for all of them in the contract.
func OwnSentences() (all []Sentence) {
	for _, own := range ownSentences {
		all = append(all, own.sentence)
	}
	return all
}
