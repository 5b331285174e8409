"""Small stories composed from sentences of the project's own, for training beside TinyStories.

A story has a hero, a friend, a place and a thing; a plot orders its parts; each part has several
wordings. ``own_stories(count, seed)`` gives the same stories for the same seed.

    python -m sw.train.own_stories --count 3 --seed 1
"""

import argparse
import random
import re


__all__ = ["own_stories"]

GIRLS = "Lily Mia Sue Anna Sara Lucy Emma Rose Ella Molly Jane Amy Nora Ruby".split()
BOYS = "Tim Ben Tom Max Sam Jack Leo Fin Bob Billy Joe Dan Otto Noah".split()
ANIMALS = ("cat dog bunny bird bear fox frog duck mouse squirrel turtle pony puppy kitten owl "
           "hedgehog lamb penguin").split()
TRAITS = "kind brave clever happy curious gentle funny quiet cheerful careful".split()
COLOURS = "red blue green yellow white brown pink purple".split()
PLACES = {
    "the park": ["a tall tree", "a wooden bench", "the big slide"],
    "the garden": ["a rose bush", "the old gate", "a row of carrots"],
    "the forest": ["a hollow log", "a mossy rock", "a tall tree"],
    "the beach": ["a sand castle", "a smooth rock", "the small boat"],
    "the farm": ["the red barn", "a pile of hay", "the fence"],
    "the pond": ["a patch of reeds", "a flat stone", "the little bridge"],
}
THINGS = "ball kite hat book drum boat bell lamp cup scarf box doll basket umbrella".split()
FOODS = "cake pie apple cookie pear sandwich muffin pancake".split()
MORALS = [
    "{hero} learned that a true friend always helps.",
    "From that day on, {hero} and {friend} were best friends.",
    "And they played together every day after that.",
    "{hero} went to sleep with a big smile that night.",
    "After that day, {hero} was never afraid to ask for help.",
]
SHARING_MORALS = [
    "{hero} learned that it is good to share.",
    "{hero} knew that sharing with a friend was better than having it all.",
    "From that day on, {hero} and {friend} shared everything.",
]
OPENINGS = [
    "Once upon a time, there was a {trait} {kind} named {hero}. {He} lived near {place}.",
    "Once there was a little {kind} called {hero}. {hero} was very {trait}.",
    "One day, a {trait} {kind} named {hero} went to {place}.",
    "{hero} was a little {kind} who liked to play near {place}. {He} was {trait} and everyone "
    "loved {him}.",
    "In a small house near {place}, there lived a {kind} named {hero}.",
]
LIKES = [
    "{He} had a {colour} {thing}, and {he} took it everywhere.",
    "{hero} loved {his} {colour} {thing} more than anything.",
    "Every morning, {he} played with {his} {colour} {thing}.",
    "{His} favorite thing was a {colour} {thing} that {his} grandma gave {him}.",
]
WEATHER = [
    "The sun was warm and the sky was blue.", "It was a windy day.",
    "It had rained, and the grass was wet.", "The birds were singing in the trees.",
    "It was a cold morning, but {hero} did not mind.",
]
LOSSES = [
    "Then a strong wind came and blew the {thing} away.",
    "But when {he} looked around, the {thing} was gone.",
    "Suddenly, the {thing} fell and rolled behind {spot}.",
    "{hero} put the {thing} down for a moment, and then {he} could not find it.",
]
SADNESS = [
    "{hero} was very sad and began to cry.", '"Oh no!" said {hero}. "Where is my {thing}?"',
    "{hero} looked up and down, but {he} could not see it.",
    "{hero} felt sad. {He} wanted {his} {thing} back.",
]
MEETINGS = [
    'A {friend_kind} named {friend} heard {him}. "Why are you sad?" asked {friend}.',
    'Then {friend} the {friend_kind} came by. "Can I help you?" {friend} asked.',
    '{friend} the {friend_kind} saw {hero} and stopped. "What is wrong?" {friend} said.',
]
ANSWERS = [
    '"I lost my {thing}," said {hero}. "Do not worry," said {friend}. "We can look together."',
    '"My {thing} is gone," {hero} said. {friend} smiled and said, "Let us find it!"',
    '{hero} told {friend} about the {thing}. "I will help you," said {friend}.',
]
SEARCHES = [
    "They looked under {spot}, but it was not there.", "They looked here and there.",
    "First they looked near the water. Then they looked in the tall grass.",
    "{friend} looked to the left, and {hero} looked to the right.",
]
FINDS = [
    'At last, {friend} saw something {colour} behind {corner}. "Here it is!" {friend} shouted.',
    "Then {hero} looked behind {corner}. There was the {thing}!",
    "After a while, they found the {thing} next to {corner}.",
]
LONE_SEARCHES = [
    "{He} looked under {spot}, but it was not there. {He} did not give up.",
    "{He} walked all around {place} and looked for it.",
    "First {he} looked near the water. Then {he} looked in the tall grass.",
]
LONE_FINDS = [
    "At last, {he} saw something {colour} behind {corner}. It was the {thing}!",
    "Then {hero} looked behind {corner}. There was the {thing}! {hero} was so happy.",
    "In the end, {he} found the {thing} next to {corner}. {He} held it close and went home.",
]
THANKS = [
    '"Thank you so much!" said {hero}. {He} gave {friend} a big hug.',
    "{hero} was so happy that {he} jumped up and down.",
    '"You are a good friend," {hero} said, and {friend} smiled.',
]
HUNGERS = [
    "{hero} had a big {food} for lunch. It smelled very good.",
    "{His} mom made a {food} for {him}. {hero} could not wait to eat it.",
    "{hero} sat down near {spot} to eat {his} {food}.",
]
HUNGRY_FRIENDS = [
    "Then {he} saw {friend}, a little {friend_kind}. {friend} looked hungry and cold.",
    'A {friend_kind} named {friend} came near. "I have no food," said {friend} in a small voice.',
    "{friend} the {friend_kind} sat alone and had nothing to eat.",
]
DOUBTS = [
    "At first, {hero} did not want to share. {He} was hungry too.",
    "{hero} looked at the {food}. Then {he} looked at {friend}.",
    "{hero} thought for a moment.",
]
SHARES = [
    '"You can have half of my {food}," said {hero}.',
    "{hero} cut the {food} in two and gave one part to {friend}.",
    '{hero} smiled and said, "Come and sit with me. We can share."',
]
EATING = [
    "They ate together and talked about many things.",
    '"This is so yummy!" said {friend}. They both laughed.',
    "The {food} tasted even better because they shared it.",
]
FEARS = [
    "{hero} wanted to walk past {spot} in the dark, but {he} was scared.",
    "{hero} wanted to cross the water, but it looked deep.",
    "{hero} heard a loud noise behind {spot}. {He} was afraid and wanted to run home.",
]
COURAGE = [
    '{friend} the {friend_kind} said, "You can do it! I will stay with you."',
    'Then {friend} came and said, "Just go slowly. I am here."',
    '"We can try it together," said {friend}, who was a {friend_kind}.',
]
TRIES = [
    "{hero} took a deep breath and tried. One step, then one more step.",
    "The first time, {he} fell down. The second time, {he} did it!",
    "Slowly, {hero} went on. {His} heart was beating fast.",
]
PRIDE = [
    '"I did it!" {hero} shouted. {He} was very proud.',
    "It was not scary at all. {hero} laughed and wanted to do it again.",
    "{His} mom was proud of {him} and gave {him} a kiss.",
]
BREAKS = [
    "One day, the {thing} broke. {hero} did not know what to do.",
    "{hero} ran too fast, and the {thing} fell on the ground and broke.",
    "But the {thing} was old, and a piece of it came off.",
]
REPAIRS = [
    "They used some string and a little glue. Soon the {thing} was like new.",
    "{friend} held the two parts, and {hero} put them together.",
    "It took a long time, but they did not stop. At last, it was fixed.",
]
OFFERS = [
    '"I can fix it," said {friend}, a {friend_kind} who lived near {place}.',
    '{friend} the {friend_kind} looked at it and said, "I know how to fix this."',
    '{hero} took it to {friend} the {friend_kind}. "Please help me," {he} said.',
]
ENDINGS = ["", "", "", "The end.", "Then they went home, because it was late.",
           "They played until the sun went down."]
PLOTS = [
    [OPENINGS, LIKES, WEATHER, LOSSES, SADNESS, None, MEETINGS, ANSWERS, SEARCHES, FINDS, None,
     THANKS, MORALS, ENDINGS],
    [OPENINGS, WEATHER, HUNGERS, None, HUNGRY_FRIENDS, DOUBTS, SHARES, None, EATING, SHARING_MORALS,
     ENDINGS],
    [OPENINGS, WEATHER, FEARS, None, COURAGE, TRIES, None, PRIDE, MORALS, ENDINGS],
    [OPENINGS, LIKES, BREAKS, None, OFFERS, REPAIRS, None, THANKS, MORALS],
    [OPENINGS, LIKES, LOSSES, SADNESS, None, LONE_SEARCHES, LONE_FINDS, ENDINGS],
]
PRONOUNS = {"girl": ("she", "her", "her"), "boy": ("he", "him", "his")}


def _cast(random_):
    """Return the words that fill the gaps of one story."""
    kind = random_.choice(["girl", "boy", "girl", "boy", random_.choice(ANIMALS)])
    female = kind == "girl" or kind not in PRONOUNS and random_.random() < 0.5
    names = random_.sample(GIRLS if female else BOYS, 1)
    friend = random_.choice([name for name in GIRLS + BOYS if name not in names])
    place, spots = random_.choice(list(PLACES.items()))
    spot, corner = random_.sample(spots, 2)
    he, him, his = PRONOUNS["girl" if female else "boy"]
    words = {
        "hero": names[0], "kind": kind, "friend": friend,
        "friend_kind": random_.choice([a for a in ANIMALS if a != kind]),
        "place": place, "spot": spot, "corner": corner, "thing": random_.choice(THINGS),
        "food": random_.choice(FOODS), "colour": random_.choice(COLOURS),
        "trait": random_.choice(TRAITS), "he": he, "him": him, "his": his,
    }
    return words | {key.capitalize(): words[key].capitalize() for key in ("he", "him", "his")}


def _story(random_):
    words = _cast(random_)
    paragraphs = [[]]
    for part in random_.choice(PLOTS):
        if part is None:
            paragraphs.append([])
            continue
        sentence = random_.choice(part).format(**words)
        if sentence:
            paragraphs[-1].append(sentence)
    breaks = random_.random() < 0.7
    text = ("\n" if breaks else " ").join(" ".join(p) for p in paragraphs)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def own_stories(count, seed):
    """Return ``count`` stories composed with a seed."""
    random_ = random.Random(seed)
    return [_story(random_) for _ in range(count)]


def main():
    """Print some stories."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("\n\n".join(own_stories(args.count, args.seed)))


if __name__ == "__main__":
    main()
