/** Everything that a page needs in one file, dist/carillon.js: `@carillon/client/http` without what services need. */
export { CarillonError } from './errors.js'
export { connect } from './http.js'
export { escapeLevel, match } from './topic.js'
