// A real application of Express, for the tests of the takeover: node express_app.cjs MODULES '{"package": …, "url": …, "options": {…}}'
const path = require('path')
const [modules, given] = process.argv.slice(2)
const load = (name) => require(require.resolve(name, { paths: [modules] }))
const session = load('express-session')
const settings = JSON.parse(given)

async function makeStore() {
  if (settings.package.startsWith('connect-redis')) {
    const client = load('redis').createClient({ url: settings.url })
    await client.connect()
    const found = load(settings.package)
    const RedisStore = found.RedisStore || found.default
    return new RedisStore({ client, ...settings.options })
  }
  const found = load(settings.package)
  return (found.MongoStore || found.default || found).create({ mongoUrl: settings.url, ...settings.options })
}

makeStore().then((store) => {
  const app = load('express')()
  app.use(session({ store, secret: settings.secret, resave: false, saveUninitialized: false, cookie: settings.cookie || {} }))
  app.get('/login', (req, res) => {
    req.session.user = { name: req.query.user }
    req.session.cart = { items: [1, 'zwei', 3.5, null, { deep: true }], note: '你好' }
    Object.assign(req.session, JSON.parse(req.query.more || '{}'))
    res.send('登录成功')
  })
  app.get('/home', (req, res) => res.send(req.session.user ? `你好 ${req.session.user.name}` : '登录 注册'))
  app.get('/logout', (req, res) => req.session.destroy(() => res.send('成功退出')))
  const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
})
process.stdin.on('end', () => process.exit(0)).resume()
