"""Sentences about a drawn image: true to the drawing, varied in wording, silent about who it is.

The six aspects are those of DIFFER's captions, in its order: biometrics, hairstyle, clothing, pose, interaction,
environment.
"""

from typing import TYPE_CHECKING

import numpy as np

from .people import Garment, Outfit, Person
from .pose import Pose, viewpoint

if TYPE_CHECKING:
    from .scene import Camera

PATTERN_PHRASES = {
    "striped": "with {second} horizontal stripes",
    "vertically striped": "with {second} vertical stripes",
    "checked": "with {second} checks",
    "dotted": "with {second} dots",
    "two-tone": "and {second} below the chest",
    "printed": "with a print in {second} on the chest",
}
PLACE_PHRASES = {
    "corridor": "a corridor with a row of doors",
    "shop": "a shop with full shelves",
    "street": "a street in front of houses",
    "park": "a park path with trees behind it",
    "brick wall": "a pavement along a brick wall with posters",
    "lobby": "a lobby with tall windows and pillars",
    "car park": "a car park with a row of cars",
    "station": "a station platform with tiled walls",
}
HAIR_PHRASES = {
    "long straight": "long, straight {hair} hair that falls over the shoulders",
    "long wavy": "long, wavy {hair} hair that falls over the shoulders",
    "shoulder-length": "{hair} hair down to the shoulders",
    "bob": "a chin-length {hair} bob with a fringe",
    "ponytail": "{hair} hair tied back in a ponytail",
    "bun": "{hair} hair put up in a bun",
    "afro": "a round {hair} afro",
    "curly": "curly {hair} hair",
    "short": "short {hair} hair",
    "pixie": "{hair} hair in a short pixie cut",
    "side parting": "short {hair} hair with a parting",
    "buzz cut": "closely cropped {hair} hair",
    "balding": "a bald crown and {hair} hair at the sides",
}
VIEW_PHRASES = {
    "front": ("facing the camera", "coming towards the camera", "seen from the front"),
    "front three-quarter": ("turned half towards the camera", "seen at an angle from the front"),
    "side": ("seen from the side", "in profile"),
    "back three-quarter": ("turned half away from the camera", "seen at an angle from behind"),
    "back": ("seen from behind", "with the back to the camera"),
}


def describe(
    person: Person, outfit: Outfit, pose: Pose, camera: "Camera", rng: np.random.Generator
) -> tuple[str, str, str, str, str, str]:
    """One sentence for each aspect, in their fixed order; `rng` chooses the words."""
    return (
        biometrics(person, rng),
        hairstyle(person, outfit, pose, rng),
        clothing(person, outfit, rng),
        posture(person, pose, rng),
        interaction(person, outfit, pose, rng),
        environment(camera, rng),
    )


def biometrics(person: Person, rng: np.random.Generator) -> str:
    body = f"{_stature(person)} and {_build(person, rng)}"
    shape = _one_of(rng, _features(person) or ["even proportions"])
    return _one_of(
        rng,
        [
            f"The person is {_article(person.age)} {_noun(person)}, {body}, with {person.skin} skin and {shape}.",
            f"{_article(person.age).capitalize()} {_noun(person)} of {person.skin} complexion, {body}, with {shape}.",
            f"This is {_article(person.age)} {_noun(person)} with {shape} and {person.skin} skin, {body}.",
        ],
    )


def summarise(person: Person, rng: np.random.Generator) -> str:
    """All that the images of one person together tell about the body."""
    *features, last = [f"{person.skin} skin", *(_features(person) or ["even proportions"])]
    return (
        f"{_article(person.age).capitalize()} {_noun(person)} who is {_stature(person)} and {_build(person, rng)}, "
        f"with {', '.join(features)} and {last}."
    )


def hairstyle(person: Person, outfit: Outfit, pose: Pose, rng: np.random.Generator) -> str:
    hair = HAIR_PHRASES[person.hair_style].format(hair=person.hair)
    if outfit.hat is not None:
        hair += f", partly under {_article(outfit.hat.colour)} cap"
    beard = {"none": "", "moustache": "a moustache", "short": "a short beard", "full": "a full beard"}[person.beard]
    if beard and viewpoint(pose.yaw) in ("front", "front three-quarter", "side"):
        hair += f", and {beard}"
    subject = _subject(person)
    return _one_of(rng, [f"{subject} has {hair}.", f"The hairstyle: {hair}.", f"One sees {hair}."])


def clothing(person: Person, outfit: Outfit, rng: np.random.Generator) -> str:
    upper, lower, shoes = _worn(outfit.upper), _worn(outfit.lower), f"{outfit.shoes.colour} {outfit.shoes.kind}"
    return _one_of(
        rng,
        [
            f"{_subject(person)} wears {upper}, {lower} and {shoes}.",
            f"The clothes are {upper}, {lower} and {shoes}.",
            f"Dressed in {upper} above {lower}, with {shoes}.",
        ],
    )


def posture(person: Person, pose: Pose, rng: np.random.Generator) -> str:
    view = _one_of(rng, list(VIEW_PHRASES[viewpoint(pose.yaw)]))
    if not pose.walking:
        act = _one_of(
            rng, ["stands still", "is standing", "stands upright" if person.stoop < 0.12 else "stands stooped"]
        )
    else:
        gait = "long" if person.stride > 1.08 else "short" if person.stride < 0.85 else "even"
        act = _one_of(rng, ["walks", f"walks with {gait} steps", "is walking", "is in mid-step"])
        act += ", leaning forward" if person.stoop > 0.12 and rng.random() < 0.5 else ""
    return _one_of(rng, [f"{_subject(person)} {act}, {view}.", f"The person {act} and is {_state(view)}."])


def interaction(person: Person, outfit: Outfit, pose: Pose, rng: np.random.Generator) -> str:
    things = []
    if outfit.bag is not None:
        manner = {"backpack": "on the back", "shoulder bag": "over the shoulder", "handbag": "in the left hand"}
        things.append(f"carries {_article(outfit.bag.colour)} {outfit.bag.kind} {manner[outfit.bag.kind]}")
    if pose.phone:
        things.append(_one_of(rng, ["holds a phone", "looks at a phone in the right hand"]))
    if not things:
        return _one_of(rng, ["Nothing is carried.", f"{_subject(person)} carries nothing.", "Both hands are empty."])
    return f"{_one_of(rng, [_subject(person), 'The person'])} {' and '.join(things)}."


def environment(camera: "Camera", rng: np.random.Generator) -> str:
    level = camera.brightness
    light = "dim" if level < 0.82 else "bright" if level > 1.05 else "moderate"
    tint = ", warm" if camera.gains[0] > 1.07 else ", cool" if camera.gains[0] < 0.93 else ""
    height = (
        "from high above" if camera.elevation > 0.25 else "at eye level" if camera.elevation < 0.1 else "from above"
    )
    inside = "indoors" if camera.indoors else "outdoors"
    place = PLACE_PHRASES[camera.place]
    return _one_of(
        rng,
        [
            f"The scene is {place}, {inside}, in {light}{tint} light, filmed {height}.",
            f"Taken {inside} {height}: {place} in {light}{tint} light.",
            f"Behind the person there is {place}; the light is {light}{tint}.",
        ],
    )


def _one_of(rng: np.random.Generator, options: list[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _noun(person: Person) -> str:
    return "woman" if person.woman else "man"


def _subject(person: Person) -> str:
    return "She" if person.woman else "He"


def _stature(person: Person) -> str:
    return "tall" if person.stature > 1.79 else "short" if person.stature < 1.62 else "of medium height"


def _build(person: Person, rng: np.random.Generator) -> str:
    if person.build < 0.92:
        return _one_of(rng, ["slim", "slender", "lightly built"])
    if person.build > 1.15:
        return _one_of(rng, ["heavily built", "stout", "sturdy"])
    return _one_of(rng, ["of average build", "of normal build"])


def _features(person: Person) -> list[str]:
    """What is unusual about the proportions, at least one standard deviation from the average."""
    found = []
    average_shoulders = 0.93 if person.woman else 1.06
    if abs(person.shoulders - average_shoulders) > 0.05:
        found.append("broad shoulders" if person.shoulders > average_shoulders else "narrow shoulders")
    if abs(person.legs - 0.462) > 0.016:
        found.append("long legs" if person.legs > 0.462 else "short legs")
    if abs(person.face_width - 1) > 0.09:
        found.append("a round face" if person.face_width > 1 else "a narrow face")
    if abs(person.head - 1) > 0.065:
        found.append("a large head" if person.head > 1 else "a small head")
    return found + ["glasses"] * person.glasses


def _worn(garment: Garment) -> str:
    """«a red shirt with white dots», «black trousers», «a navy blue jacket over a grey top»."""
    name = f"{garment.colour} {garment.kind}"
    if not garment.kind.endswith("s"):
        name = _article(name)
    if garment.pattern in PATTERN_PHRASES:
        name += " " + PATTERN_PHRASES[garment.pattern].format(second=garment.second)
    if garment.kind in ("jacket", "coat"):
        name += f", open over {_article(garment.second)} top"
    return name


def _state(view: str) -> str:
    return view if not view.startswith("with ") else f"seen {view}"
