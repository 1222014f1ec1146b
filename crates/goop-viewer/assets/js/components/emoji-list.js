// Emoji with the words they are found by, in the order of the picker's six parts. A line is one emoji and its words.

const part = (name, icon, lines) => ({
  name, icon,
  emoji: lines.trim().split('\n').map((line) => {
    const [sign, ...words] = line.trim().split(' ');
    return { sign, words: words.join(' ') };
  }),
});

export const parts = [
  part('Smileys', '😀', `
    😀 grinning face happy
    😄 laughing eyes happy
    😅 sweat relief laugh
    😂 tears of joy laugh
    🙂 slight smile
    😉 wink
    😊 blush smile
    😍 heart eyes love
    😘 kiss
    😋 yummy tasty
    😛 tongue out
    😎 cool sunglasses
    🤓 nerd glasses
    🤔 thinking hmm
    😐 neutral
    😏 smirk
    😴 asleep sleeping
    😮 surprised open mouth
    😢 crying sad tear
    😭 sobbing crying
    😠 angry
    😱 scream fear
    🥳 party face celebrate
    😇 angel halo
    🤖 robot
    👻 ghost`),
  part('Gestures', '👍', `
    👍 thumbs up yes good
    👎 thumbs down no bad
    👋 wave hello goodbye
    👏 clap applause
    🙌 raised hands hooray
    🙏 please thank you folded hands
    🤝 handshake deal
    👌 ok hand perfect
    ✌️ victory peace
    🤞 fingers crossed luck
    💪 strong muscle arm
    👀 eyes look
    🫶 heart hands
    ☝️ pointing up one
    👉 pointing right
    👈 pointing left
    🤷 shrug whatever
    🙋 raising hand question`),
  part('Hearts', '❤️', `
    ❤️ red heart love
    🧡 orange heart
    💛 yellow heart
    💚 green heart
    💙 blue heart
    💜 purple heart
    🖤 black heart
    🤍 white heart
    💔 broken heart
    💕 two hearts
    💖 sparkling heart
    💯 hundred perfect
    ✨ sparkles shine
    ⭐ star
    🔥 fire hot
    💥 boom collision
    🎉 party popper hooray
    🎂 birthday cake`),
  part('Things', '💡', `
    💡 idea light bulb
    🚀 rocket launch
    💻 laptop computer
    📱 phone mobile
    📷 camera photo
    🎧 headphones music
    🎵 note music
    📚 books read
    📌 pin
    📎 paper clip
    🔑 key
    🔒 lock locked sealed
    🔧 wrench tool
    🧪 test tube experiment
    ⏰ alarm clock time
    📅 calendar date
    📡 antenna satellite radio
    🗑️ waste basket bin
    ✅ check done yes
    ❌ cross no wrong
    ⚠️ warning
    ❓ question
    ❗ exclamation important
    🏁 finish flag`),
  part('Animals', '🐸', `
    🐸 frog pond
    🐶 dog
    🐱 cat
    🐭 mouse
    🐰 rabbit
    🦊 fox
    🐻 bear
    🐼 panda
    🐨 koala
    🦁 lion
    🐧 penguin
    🐦 bird
    🦉 owl
    🐢 turtle slow
    🐍 snake python
    🐙 octopus
    🦀 crab rust
    🐟 fish
    🐳 whale
    🦋 butterfly
    🐝 bee
    🐞 ladybird bug
    🌱 seedling plant
    🌻 sunflower
    🌳 tree
    🌈 rainbow`),
  part('Food', '🍎', `
    🍎 apple
    🍌 banana
    🍓 strawberry
    🍇 grapes
    🍉 watermelon
    🥑 avocado
    🥕 carrot
    🌽 corn
    🍞 bread
    🧀 cheese
    🥚 egg
    🍔 burger
    🍟 chips fries
    🍕 pizza
    🌮 taco
    🍣 sushi
    🍝 spaghetti pasta
    🍦 ice cream
    🍪 cookie
    🍫 chocolate
    ☕ coffee
    🍵 tea
    🍺 beer
    🍷 wine`),
];
