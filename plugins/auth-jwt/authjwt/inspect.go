package authjwt

// Inspection is what a token says of itself. Nothing of it is verified.
type Inspection struct {
	Algorithm string
	KeyID     string
	Header    map[string]any // numbers are json.Number
	Claims    map[string]any
}

// Inspect reads token without verifying it. The error is the one with which Authenticate would refuse what can't be read; for
// everything else that it may be refused for, ask Authenticate.
func Inspect(token string) (Inspection, error) {
	t, err := parseToken(token)
	if err != nil {
		return Inspection{}, err
	}
	return Inspection{Algorithm: t.alg, KeyID: t.kid, Header: t.header, Claims: t.claims}, nil
}
