import { fileURLToPath } from 'node:url'

const sdk = fileURLToPath(new URL('../../../sdk/js', import.meta.url))

export default {
  cacheDir: fileURLToPath(new URL('../node_modules/.vite', import.meta.url)),
  resolve: { alias: { '@carillon/client': `${sdk}/dist/carillon.js` } }, // npm install does this otherwise
  server: { fs: { allow: ['.', sdk] } },
}
